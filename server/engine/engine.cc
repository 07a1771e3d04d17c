#include "server/engine/engine.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "prometheus/gauge.h"
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
  parked_.reserve(options_.max_active);
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
    const auto is_of_model = [number](const Chain& chain) { return chain.model == number; };
    if (std::any_of(chains_.begin(), chains_.end(), is_of_model) ||
        std::any_of(parked_.begin(), parked_.end(), is_of_model)) {
      return absl::FailedPreconditionError("chains of the model still run");
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
    RunInbox();
    ReceiveChains();
    RetireEnded();
    Park();
    Unpark();
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
  for (std::vector<Chain>* chains : {&chains_, &parked_}) {
    for (const Chain& chain : *chains) {
      chain.request->stream->Fail(ShuttingDownError());
      Free(chain);
    }
    chains->clear();
  }
  CountLoad();
  models_.clear();  // a device is torn down by the thread that set it up
  RunInbox();       // those that came in between
}

bool Engine::WaitForWork(bool idle) {
  MutexLock lock(mutex_);
  while (idle && !woken_ && !stopping_) {
    busy_since_.store(0, std::memory_order_relaxed);
    condition_.Wait(mutex_);
  }
  busy_since_.store(clock_->Now().time_since_epoch().count(), std::memory_order_relaxed);
  woken_ = false;
  return !stopping_;
}

std::optional<SteadyTime> Engine::busy_since() const {
  const SteadyTime::rep since = busy_since_.load(std::memory_order_relaxed);
  if (since == 0) return std::nullopt;
  return SteadyTime(SteadyTime::duration(since));
}

void Engine::RunInbox() {
  std::vector<InboxTask> tasks;
  bool stopping;
  {
    MutexLock lock(mutex_);
    tasks.swap(inbox_);
    stopping = stopping_;
  }
  if (tasks.empty()) return;
  // They may take long: what is sent to it in the meantime would wait.
  if (exchange_ != nullptr) exchange_->AskNoMore(options_.index);
  for (InboxTask& task : tasks) task.answer(stopping ? ShuttingDownError() : task.work());
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

void Engine::CountLoad() {
  uint64_t rows = 0;
  for (const Chain& chain : chains_) rows += chain.denoiser_rows_left;
  for (const Chain& chain : parked_) rows += chain.denoiser_rows_left;
  chains_active_.store(chains_.size() + parked_.size(), std::memory_order_relaxed);
  rows_left_.store(rows, std::memory_order_relaxed);
  gauges_.chains_active->Set(static_cast<double>(chains_.size()));
  gauges_.chains_parked->Set(static_cast<double>(parked_.size()));
  if (exchange_ != nullptr) {
    exchange_->Report(options_.index, std::min(chains_.size(), candidates_.size()));
  }
}

}  // namespace denoise
