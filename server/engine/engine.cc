#include "server/engine/engine.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "server/engine/shutting_down.h"

namespace denoise {

Engine::Engine(Options options, WaitingQueue* queue, Metrics* metrics, const Clock* clock)
    : options_(std::move(options)),
      queue_(queue),
      metrics_(metrics),
      clock_(clock),
      gauges_(metrics->ForEngine(options_.device)),
      planner_(options_.batching) {
  queue_->OnWork(options_.index, [this] { Wake(); });
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
    batch_sizes_.push_back(model.batch_sizes);
    const ModelMetrics metrics = metrics_->ForModel(model.name);
    models_.push_back({*std::move(executor), metrics});
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
    RetireEnded();
    Admit();
    idle = !Tick();
    CountLoad();
  }
  for (Chain& chain : chains_) {
    chain.request->stream->Fail(ShuttingDownError());
    models_[chain.model].executor->Free(chain.slot);
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
  std::deque<Errand> errands;
  bool stopping;
  {
    MutexLock lock(mutex_);
    errands.swap(inbox_);
    stopping = stopping_;
  }
  for (Errand& errand : errands) errand.answer(stopping ? ShuttingDownError() : errand.work());
}

void Engine::Admit() {
  size_t room = options_.max_active - std::min(options_.max_active, chains_.size());
  if (options_.batching == Batching::kRequest) {
    // As many chains as the largest batch of the first model holds, and only into an empty engine.
    const int64_t largest =
        batch_sizes_.empty() || batch_sizes_[0].empty() ? 1 : batch_sizes_[0].back();
    room = chains_.empty() ? std::min<size_t>(room, largest) : 0;
  }
  // Also without room, because the queue shares chains out by how many each engine has.
  for (const ChainRange& range : queue_->Pull(options_.index, chains_.size(), room)) {
    StartChains(range);
  }
}

int Engine::ModelNumber(const ModelInfo& model) const {
  for (size_t i = 0; i < models_.size(); ++i) {
    const ModelInfo& mine = models_[i].executor->model();
    if (mine.name == model.name && mine.version == model.version) return static_cast<int>(i);
  }
  return -1;
}

void Engine::StartChains(const ChainRange& range) {
  const Request& request = *range.request;
  EventStream& stream = *request.stream;
  if (stream.ended()) return;
  if (request.deadline.has_value() && clock_->Now() >= *request.deadline) {
    stream.Fail(absl::DeadlineExceededError("the deadline passed while the request was waiting"));
    return;
  }
  const int model = ModelNumber(*request.model);
  if (model < 0) {
    stream.Fail(absl::InternalError(absl::StrCat("the model ", request.model->name, " version ",
                                                 request.model->version, " is not loaded here")));
    return;
  }
  if (stream.Activate()) metrics_->QueueSeconds(stream.queue_seconds().value_or(0));

  Executor& executor = *models_[model].executor;
  const Table& table = *request.table;
  const size_t values = request.model->shape.values();
  for (uint32_t i = range.first; i < range.first + range.count; ++i) {
    ChainStart start;
    start.registers = table.registers;
    start.seed = request.seed + i;
    start.stochastic = table.stochastic;
    if (!request.start.empty()) {
      start.x = absl::MakeConstSpan(request.start).subspan(i * values, values);
    }
    start.scale = table.initial_scale;
    absl::StatusOr<SlotId> slot = executor.Start(start);
    if (!slot.ok()) {
      metrics_->ChainFailed("no_memory");
      stream.Fail(slot.status());
      return;
    }
    chains_.push_back({range.request, i, model, *slot, 0});
    if (request.states.Wants(0, table.total_steps)) {
      Output output;
      output.publish = true;
      output.x.resize(values);
      executor.Read(*slot, output.x.data());
      PublishState(chains_.back(), nullptr, output);
    }
  }
}

void Engine::RetireEnded() {
  const auto gone = std::remove_if(chains_.begin(), chains_.end(), [this](Chain& chain) {
    if (!chain.at_end()) {
      EventStream& stream = *chain.request->stream;
      if (!stream.ended()) {
        if (!chain.request->deadline.has_value() || clock_->Now() < *chain.request->deadline) {
          return false;
        }
        stream.Fail(absl::DeadlineExceededError("the deadline passed while the chains ran"));
      }
    }
    models_[chain.model].executor->Free(chain.slot);
    return true;
  });
  chains_.erase(gone, chains_.end());
}

bool Engine::Tick() {
  candidates_.clear();
  for (size_t i = 0; i < chains_.size(); ++i) {
    const Chain& chain = chains_[i];
    if (!chain.request->stream->HasRoom()) continue;
    const int rows = chain.request->DenoiserRows(chain.next_row());
    candidates_.push_back({i, chain.model, rows, chain.request->model->shape.values()});
  }
  const SteadyTime begin = clock_->Now();
  const Batch& batch = planner_.Plan(candidates_, batch_sizes_);
  if (batch.model < 0) return false;

  MakeTasks(batch);
  denoiser_seconds_ = 0;
  Execute(*models_[batch.model].executor, 0, tasks_.size());
  for (size_t i = 0; i < tasks_.size(); ++i) Advance(i);
  RetireEnded();

  const double seconds = SecondsBetween(begin, clock_->Now());
  gauges_.tick_seconds->Observe(seconds);
  gauges_.engine_overhead_seconds->Observe(std::max(0.0, seconds - denoiser_seconds_));
  if (batch.rows > 0) {
    gauges_.denoiser_seconds->Observe(denoiser_seconds_);
    gauges_.batch_rows->Observe(static_cast<double>(batch.rows));
    gauges_.padding_rows_total->Increment(static_cast<double>(batch.padded_rows - batch.rows));
    models_[batch.model].metrics.rows_total->Increment(static_cast<double>(batch.rows));
  }
  return true;
}

void Engine::MakeTasks(const Batch& batch) {
  task_chains_.assign(batch.chains.begin(), batch.chains.end());
  tasks_.clear();
  if (outputs_.size() < task_chains_.size()) outputs_.resize(task_chains_.size());
  if (finite_size_ < task_chains_.size()) {
    finite_size_ = task_chains_.size();
    finite_ = std::make_unique<bool[]>(finite_size_);
  }
  for (size_t i = 0; i < task_chains_.size(); ++i) {
    const Chain& chain = chains_[task_chains_[i]];
    const Request& request = *chain.request;
    const Row& row = chain.next_row();
    RowTask task;
    task.slot = chain.slot;
    task.row = &row;
    task.label = request.labels.empty() ? 0 : request.labels[chain.index];
    task.sample = chain.index;
    task.guided = request.DenoiserRows(row) == 2;
    if (task.guided && !request.negative_labels.empty()) {
      task.negative_label = request.negative_labels[chain.index];
    }
    task.guidance = request.guidance;

    Output& output = outputs_[i];
    output.status = absl::OkStatus();
    output.publish =
        row.completes_step && request.states.Wants(row.step, request.table->total_steps);
    const auto wants = [&](Content content) {
      const auto& all = request.states.content;
      return output.publish && std::find(all.begin(), all.end(), content) != all.end();
    };
    const size_t values = request.model->shape.values();
    const bool last = chain.row + 1 == request.table->rows.size();
    if (last || wants(Content::kXt)) {
      output.x.resize(values);
      task.x_out = output.x.data();
    }
    if (wants(Content::kPredictedX0) && row.denoise) {
      output.x0.resize(values);
      task.x0_out = output.x0.data();
    }
    tasks_.push_back(task);
  }
}

void Engine::Execute(Executor& executor, size_t first, size_t count) {
  const absl::Span<const RowTask> tasks = absl::MakeConstSpan(tasks_).subspan(first, count);
  int64_t rows = 0;
  for (const RowTask& task : tasks) rows += task.denoiser_rows();
  const absl::Status status =
      executor.Execute(tasks, PaddedRows(rows, executor.model().batch_sizes),
                       absl::MakeSpan(finite_.get() + first, count));
  denoiser_seconds_ += executor.denoiser_seconds();
  if (status.ok()) return;
  if (count == 1) {
    outputs_[first].status = status;
    return;
  }
  // Nothing has changed, so everything can be tried again in smaller parts: one by one, that only
  // the guilty fails; where memory ran out by halves, that the batch is no smaller than it must be.
  const size_t part = absl::IsResourceExhausted(status) ? (count + 1) / 2 : 1;
  for (size_t i = 0; i < count; i += part) {
    Execute(executor, first + i, std::min(part, count - i));
  }
}

void Engine::Advance(size_t i) {
  Chain& chain = chains_[task_chains_[i]];
  Output& output = outputs_[i];
  EventStream& stream = *chain.request->stream;
  const Row& row = chain.next_row();
  const auto fail = [&](const char* reason, absl::Status status) {
    metrics_->ChainFailed(reason);
    stream.Fail(std::move(status));
  };
  if (!output.status.ok()) {
    fail("denoiser_error",
         absl::Status(output.status.code(),
                      absl::StrCat("sample_index ", chain.index, ", step ", row.step,
                                   " (t = ", row.timestep, "): ", output.status.message())));
    return;
  }
  if (!finite_[i]) {
    fail("not_finite", absl::InternalError(absl::StrCat("sample_index ", chain.index, ", step ",
                                                        row.step, " (t = ", row.timestep,
                                                        "): the denoiser's answer is not finite")));
    return;
  }
  ++chain.row;
  const bool last = chain.at_end();
  if (!last) {
    if (output.publish) PublishState(chain, &row, output);
    return;
  }
  // Copied before x is given away with the state, and told after it.
  if (output.publish) {
    std::vector<float> x = output.x;
    PublishState(chain, &row, output);
    output.x = std::move(x);
  }
  stream.AddRows(chain.request->rows_per_chain());
  stream.Finish(chain.index, output.x);
}

// `row`: the one that made the state; null for x_T.
void Engine::PublishState(const Chain& chain, const Row* row, Output& output) {
  const Request& request = *chain.request;
  const Table& table = *request.table;
  StateEvent state;
  state.sample_index = chain.index;
  state.step = row ? row->step : 0;
  state.timestep = row ? row->state_timestep : table.initial_timestep;
  state.alpha_bar = row ? row->state_alpha_bar : table.initial_alpha_bar;
  state.sigma = row ? row->state_sigma : table.initial_sigma;
  for (const Content content : request.states.content) {
    // There is no prediction before the first row.
    if (content == Content::kPredictedX0 && (!row || !row->denoise)) continue;
    state.content = content;
    state.values.clear();
    if (content == Content::kXt) state.values = std::move(output.x);
    if (content == Content::kPredictedX0) state.values = std::move(output.x0);
    request.stream->Publish(state);
  }
}

void Engine::CountLoad() {
  uint64_t rows = 0;
  for (const Chain& chain : chains_) {
    const uint64_t left = chain.request->table->rows.size() - chain.row;
    rows += left * (chain.request->guided ? 2 : 1);
  }
  chains_active_.store(chains_.size(), std::memory_order_relaxed);
  rows_left_.store(rows, std::memory_order_relaxed);
  gauges_.chains_active->Set(static_cast<double>(chains_.size()));
}

}  // namespace denoise
