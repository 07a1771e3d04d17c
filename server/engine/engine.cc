#include "server/engine/engine.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "server/engine/publish.h"
#include "server/engine/shutting_down.h"

namespace denoise {

Engine::Engine(Options options, WaitingQueue* queue, Metrics* metrics, const Clock* clock)
    : options_(std::move(options)),
      queue_(queue),
      metrics_(metrics),
      clock_(clock),
      // A batch of requests stays together until all of them have ended.
      exchange_(options_.batching == Batching::kRequest ? nullptr : options_.exchange),
      gauges_(metrics->ForEngine(options_.device)),
      planner_(options_.batching) {
  // Memory that is not written to costs nothing; what grows by doubling leaves its halves behind.
  chains_.reserve(options_.max_active);
  ranks_.reserve(options_.max_active);
  candidates_.reserve(options_.max_active);
  queue_->OnWork(options_.index, [this] { Wake(); });
  if (exchange_ != nullptr) exchange_->Join(options_.index, [this] { Wake(); });
  thread_ = std::thread([this] { Loop(); });
}

Engine::~Engine() { Stop(); }

absl::Status Engine::Run(std::function<absl::Status()> work) {
  auto answer = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> future = answer->get_future();
  {
    MutexLock lock(mutex_);
    if (stopping_) return ShuttingDownError();
    inbox_.push_back(
        {std::move(work), [answer](absl::Status status) { answer->set_value(std::move(status)); }});
    woken_ = true;
    condition_.Signal();
  }
  return future.get();
}

absl::Status Engine::AddModel(ExecutorFactory factory) {
  return Run([this, factory = std::move(factory)]() -> absl::Status {
    absl::StatusOr<std::unique_ptr<Executor>> executor = factory();
    if (!executor.ok()) return executor.status();
    const ModelInfo& model = (*executor)->model();
    const ModelMetrics metrics = metrics_->ForModel(model.name);
    // The number of a model that has gone is given away again.
    size_t number = 0;
    while (number < models_.size() && models_[number].executor != nullptr) ++number;
    models_.resize(std::max(models_.size(), number + 1));
    batch_sizes_.resize(models_.size());
    batch_seconds_.resize(models_.size());
    batch_sizes_[number] = model.batch_sizes;
    batch_seconds_[number] = model.denoiser_seconds;
    models_[number] = {*std::move(executor), metrics};
    return absl::OkStatus();
  });
}

absl::Status Engine::RemoveModel(uint64_t id) {
  return Run([this, id]() -> absl::Status {
    const int number = ModelNumber(id);
    if (number < 0) return absl::NotFoundError(absl::StrCat("there is no model of id ", id));
    for (const Chain& chain : chains_) {
      if (chain.model == number) {
        return absl::FailedPreconditionError("chains of the model still run");
      }
    }
    models_[number] = {};
    batch_sizes_[number].clear();
    batch_seconds_[number].clear();
    return absl::OkStatus();
  });
}

void Engine::Wake() {
  MutexLock lock(mutex_);
  woken_ = true;
  condition_.Signal();
}

void Engine::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    condition_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

void Engine::Loop() {
  bool idle = false;
  while (WaitForWork(idle)) {
    DoErrands();
    ReceiveChains();
    RetireEnded();
    Admit();
    SendChains();
    idle = !Tick();
    CountLoad();
  }
  if (exchange_ != nullptr) {
    for (const ChainExchange::Parcel& parcel : exchange_->Leave(options_.index)) {
      parcel.chain.request->stream->Fail(ShuttingDownError());
    }
  }
  for (const Chain& chain : chains_) {
    chain.request->stream->Fail(ShuttingDownError());
    Free(chain);
  }
  chains_.clear();
  CountLoad();
  models_.clear();  // a device is torn down by the thread that set it up
  DoErrands();      // those that came in between
}

bool Engine::WaitForWork(bool idle) {
  MutexLock lock(mutex_);
  while (idle && !woken_ && !stopping_) condition_.Wait(mutex_);
  woken_ = false;
  return !stopping_;
}

void Engine::DoErrands() {
  std::vector<Errand> errands;
  bool stopping;
  {
    MutexLock lock(mutex_);
    errands.swap(inbox_);
    stopping = stopping_;
  }
  if (errands.empty()) return;
  // They may take long: what is sent to it in the meantime would wait.
  if (exchange_ != nullptr) exchange_->AskNoMore(options_.index);
  for (Errand& errand : errands) errand.answer(stopping ? ShuttingDownError() : errand.work());
}

void Engine::Admit() {
  size_t room = options_.max_active - std::min(options_.max_active, chains_.size());
  if (options_.batching == Batching::kRequest) {
    // As many chains as the largest batch of the first model holds, and only into an empty engine.
    int64_t largest = 1;
    for (auto sizes = batch_sizes_.rbegin(); sizes != batch_sizes_.rend(); ++sizes) {
      if (!sizes->empty()) largest = sizes->back();
    }
    room = chains_.empty() ? std::min<size_t>(room, largest) : 0;
  }
  // Also without room, because the queue shares chains out by how many each engine has.
  WaitingQueue::Load load{.active = chains_.size(), .room = room};
  for (const Chain& chain : chains_) {
    load.least_share = std::min(load.least_share, chain.standing.share);
    load.bytes += chain.bytes;
  }
  for (const ChainRange& range : queue_->Pull(options_.index, load, clock_->Now())) {
    StartChains(range);
  }
}

int Engine::ModelNumber(uint64_t id) const {
  for (size_t i = 0; i < models_.size(); ++i) {
    const Executor* executor = models_[i].executor.get();
    if (executor != nullptr && executor->model().id == id) return static_cast<int>(i);
  }
  return -1;
}

int Engine::ModelOf(const Request& request) const {
  const ModelInfo& model = *request.model;
  const int number = ModelNumber(model.id);
  if (number < 0) {
    request.stream->Fail(absl::InternalError(
        absl::StrCat("the model ", model.name, " version ", model.version, " is not loaded here")));
  }
  return number;
}

bool Engine::Place(Chain& chain, const absl::StatusOr<SlotId>& slot) {
  if (!slot.ok()) {
    metrics_->ChainFailed("no_memory");
    chain.request->stream->Fail(slot.status());
    return false;
  }
  chain.slot = *slot;
  chain.key = keys_.Hold(chain.model, chain.request->conditions.get());
  chains_.push_back(std::move(chain));
  return true;
}

void Engine::StartChains(const ChainRange& range) {
  const Request& request = *range.request;
  EventStream& stream = *request.stream;
  if (stream.ended()) return;
  if (request.deadline.has_value() && clock_->Now() >= *request.deadline) {
    stream.Fail(absl::DeadlineExceededError("the deadline passed while the request was waiting"));
    return;
  }
  const int model = ModelOf(request);
  if (model < 0) return;
  if (stream.Activate()) metrics_->QueueSeconds(stream.queue_seconds().value_or(0));

  Executor& executor = *models_[model].executor;
  for (uint32_t i = range.first; i < range.first + range.count; ++i) {
    const ChainStart start = StartOf(request, i);
    Chain chain;
    chain.request = range.request;
    chain.index = i;
    chain.model = model;
    chain.row = request.first_row(i);
    chain.standing = range.standing;
    if (request.evaluation == nullptr) {
      chain.standing.share += range.rows_per_chain * (i - range.first);
    }
    chain.bytes = range.bytes_per_chain;
    chain.denoiser_rows = range.rows_per_chain;
    chain.denoiser_rows_left = range.rows_per_chain;
    if (!Place(chain, executor.Start(start))) return;
    if (request.evaluation != nullptr) {
      request.evaluation->SetPrior(i, PriorNats(request.model->schedule, start.x));
    }
  }
  if (request.states.Wants(0, request.table->total_steps)) {
    PublishStarts(absl::MakeSpan(chains_).last(range.count));
  }
}

// Step 0 of chains of one request, which have just been started.
void Engine::PublishStarts(absl::Span<Chain> chains) {
  Executor& executor = *models_[chains[0].model].executor;
  std::vector<RowBatch::Outcome> outcomes(chains.size());
  for (size_t i = 0; i < chains.size(); ++i) {
    RowBatch::Outcome& outcome = outcomes[i];
    outcome.publish = true;
    outcome.x.resize(executor.model().shape.values());
    executor.Read(chains[i].slot, outcome.x.data());
    decoding_.Add(chains[i], nullptr, &outcome);
  }
  Decode(chains[0].model);
  for (size_t i = 0; i < chains.size(); ++i) {
    if (const auto failure = FailureOf(chains[i], nullptr, outcomes[i])) {
      Fail(chains[i], *failure);
    } else {
      PublishState(chains[i], nullptr, outcomes[i]);
    }
  }
}

double Engine::Decode(int model) {
  if (decoding_.empty()) return 0;
  const SteadyTime begin = clock_->Now();
  decoding_.Run(*models_[model].executor);
  const double seconds = SecondsBetween(begin, clock_->Now());
  gauges_.decoder_seconds->Observe(seconds);
  return seconds;
}

// Every second one that could run, by rank, so that both have as much that is urgent. Those of an
// Evaluate too: each has noise of its own, and its terms meet in the request.
std::vector<ChainExchange::Parcel> Engine::Pack() {
  std::vector<ChainExchange::Parcel> parcels;
  parcels.reserve(chains_.size());  // what is taken out of the executor is surely packed
  RankChains(clock_->Now());
  bool goes = true;
  for (const auto& [rank, i] : ranks_) {
    Chain& chain = chains_[i];
    if (!chain.request->stream->HasRoom()) continue;
    goes = !goes;
    if (!goes) continue;
    std::unique_ptr<ChainState> state = models_[chain.model].executor->Extract(chain.slot);
    if (state == nullptr) continue;
    keys_.Release(chain.key);
    parcels.push_back({std::move(chain), std::move(state)});
  }
  std::erase_if(chains_, [](const Chain& chain) { return chain.request == nullptr; });
  return parcels;
}

void Engine::SendChains() {
  if (exchange_ == nullptr) return;
  if (chains_.empty()) {
    exchange_->Ask(options_.index);
    return;
  }
  exchange_->AskNoMore(options_.index);
  if (chains_.size() < 2 || !exchange_->anyone_asks()) return;
  exchange_->Send(options_.index, [this] { return Pack(); });
}

void Engine::ReceiveChains() {
  if (exchange_ == nullptr) return;
  for (ChainExchange::Parcel& parcel : exchange_->Take(options_.index)) {
    Chain& chain = parcel.chain;
    chain.model = ModelOf(*chain.request);
    if (chain.model < 0) continue;
    Place(chain, models_[chain.model].executor->Adopt(std::move(parcel.state)));
  }
}

void Engine::Free(const Chain& chain) {
  models_[chain.model].executor->Free(chain.slot);
  keys_.Release(chain.key);
}

void Engine::RetireEnded() {
  const SteadyTime now = clock_->Now();
  std::erase_if(chains_, [&](const Chain& chain) {
    if (!chain.at_end()) {
      EventStream& stream = *chain.request->stream;
      if (!stream.ended()) {
        if (!chain.request->deadline.has_value() || now < *chain.request->deadline) return false;
        stream.Fail(absl::DeadlineExceededError("the deadline passed while the chains ran"));
      }
    }
    Free(chain);
    return true;
  });
}

void Engine::RankChains(SteadyTime now) {
  ranks_.clear();
  for (size_t i = 0; i < chains_.size(); ++i) {
    const Chain& chain = chains_[i];
    // Those of an Evaluate have one rank, so that they stand together.
    const uint64_t rows_left =
        chain.request->evaluation != nullptr ? chain.denoiser_rows : chain.denoiser_rows_left;
    ranks_.emplace_back(options_.policy.RankOf(chain.standing, rows_left, now), i);
  }
  // Mostly they are in order already, as they came.
  if (!std::is_sorted(ranks_.begin(), ranks_.end())) std::sort(ranks_.begin(), ranks_.end());
}

bool Engine::Tick() {
  const SteadyTime begin = clock_->Now();
  RankChains(begin);
  candidates_.clear();
  for (const auto& [rank, i] : ranks_) {
    const Chain& chain = chains_[i];
    if (!chain.request->stream->HasRoom()) continue;
    const Request& request = *chain.request;
    Candidate& candidate = candidates_.emplace_back();
    candidate.chain = i;
    candidate.key = chain.key;
    candidate.model = chain.model;
    candidate.priority = rank.priority;
    candidate.denoiser_rows = request.DenoiserRows(chain.next_row());
    candidate.values = request.model->shape.values();
    candidate.evaluation = request.evaluation.get();
    candidate.next_row = chain.row;
    if (candidate.evaluation != nullptr) {
      candidate.rows_left = request.table->rows.size() - chain.row;
    }
  }
  const Batch& batch = planner_.Plan(candidates_, batch_sizes_, batch_seconds_);
  if (batch.key < 0) return false;

  row_batch_.Make(batch.chains, absl::MakeSpan(chains_));
  row_batch_.Run(*models_[batch.model].executor);
  for (size_t i = 0; i < row_batch_.size(); ++i) {
    RowBatch::Outcome& outcome = row_batch_.outcome(i);
    decoding_.Add(chains_[outcome.chain], row_batch_.task(i).row, &outcome);
  }
  const double decoder_seconds = Decode(batch.model);
  for (size_t i = 0; i < row_batch_.size(); ++i) {
    Advance(row_batch_.task(i), row_batch_.outcome(i));
  }
  RetireEnded();

  const double seconds = SecondsBetween(begin, clock_->Now());
  const double denoiser_seconds = row_batch_.denoiser_seconds();
  gauges_.tick_seconds->Observe(seconds);
  gauges_.engine_overhead_seconds->Observe(
      std::max(0.0, seconds - denoiser_seconds - decoder_seconds));
  if (batch.rows > 0) {
    gauges_.denoiser_seconds->Observe(denoiser_seconds);
    gauges_.batch_rows->Observe(static_cast<double>(batch.rows));
    gauges_.padding_rows_total->Increment(static_cast<double>(batch.padded_rows - batch.rows));
    const ModelMetrics& of_model = models_[batch.model].metrics;
    of_model.batches_total->Increment();
    of_model.rows_total->Increment(static_cast<double>(batch.rows));
  }
  return true;
}

// Of an Evaluate there is none, and in the buffers may be another's.
absl::Span<const float> Engine::ResultOf(const Chain& chain, const RowTask& task,
                                         const RowBatch::Outcome& outcome) {
  if (task.answer_out != nullptr) return outcome.answer;
  if (task.x_out == nullptr) return {};
  return chain.request->decode ? outcome.decoded_x : outcome.x;
}

void Engine::Advance(const RowTask& task, RowBatch::Outcome& outcome) {
  Chain& chain = chains_[outcome.chain];
  EventStream& stream = *chain.request->stream;
  if (chain.failed) return;
  if (const auto failure = FailureOf(chain, task.row, outcome)) {
    Fail(chain, *failure);
    return;
  }
  if (task.term != nullptr) {
    Evaluation& evaluation = *chain.request->evaluation;
    if (auto event = evaluation.Add(chain.index, task.term_index, outcome.term)) {
      stream.Publish(*std::move(event));
    }
  } else if (outcome.publish) {
    std::vector<float>& x = chain.request->decode ? outcome.decoded_x : outcome.x;
    std::vector<float> result;  // copied before it is given away with the state
    if (outcome.last) result = x;
    PublishState(chain, task.row, outcome);
    if (outcome.last) x = std::move(result);
  }
  if (outcome.last) {
    stream.AddRows(chain.denoiser_rows);
    stream.Finish(chain.index, ResultOf(chain, task, outcome));
    std::vector<float>().swap(outcome.decoded_x);  // too large to be kept for the next
  }
}

void Engine::Fail(Chain& chain, const Failure& failure) {
  chain.failed = true;
  metrics_->ChainFailed(failure.reason);
  chain.request->stream->Fail(failure.status);
}

void Engine::CountLoad() {
  uint64_t rows = 0;
  for (const Chain& chain : chains_) rows += chain.denoiser_rows_left;
  chains_active_.store(chains_.size(), std::memory_order_relaxed);
  rows_left_.store(rows, std::memory_order_relaxed);
  gauges_.chains_active->Set(static_cast<double>(chains_.size()));
  if (exchange_ != nullptr) {
    exchange_->Report(options_.index, std::min(chains_.size(), candidates_.size()));
  }
}

}  // namespace denoise
