#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "client/src/mutex.h"
#include "denoise/testing.h"

namespace denoise {
inline namespace client_v1 {
namespace testing {
namespace {

// A script that is being played; shared by who plays it and who may cancel it.
class Cancellation : public AsyncCallControl {
 public:
  explicit Cancellation(std::shared_ptr<std::atomic<int>> count) : count_(std::move(count)) {}

  void Cancel() override {
    MutexLock lock(&mutex_);
    if (cancelled_ || ended_) return;
    cancelled_ = true;
    ++*count_;
    changed_.NotifyAll();
  }
  // Whether it was cancelled before it came to its end.
  bool End() {
    MutexLock lock(&mutex_);
    ended_ = true;
    return cancelled_;
  }
  bool cancelled() {
    MutexLock lock(&mutex_);
    return cancelled_;
  }
  void Wait() {
    MutexLock lock(&mutex_);
    while (!cancelled_) changed_.Wait(&mutex_);
  }

 private:
  const std::shared_ptr<std::atomic<int>> count_;
  Mutex mutex_;
  CondVar changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

absl::Status Cancelled() { return absl::CancelledError("the call was cancelled"); }

template <typename E>
class Player final : public EventSource<E> {
 public:
  Player(Script<E> script, std::shared_ptr<Cancellation> cancellation)
      : script_(std::move(script)), cancellation_(std::move(cancellation)) {}

  std::optional<absl::StatusOr<E>> Next() override {
    if (next_ < script_.events.size()) {
      if (cancellation_->cancelled()) return Cancelled();
      return std::move(script_.events[next_++]);
    }
    if (script_.hold) cancellation_->Wait();
    if (cancellation_->End()) return Cancelled();
    if (script_.status.ok()) return std::nullopt;
    return script_.status;
  }
  void Cancel() override { cancellation_->Cancel(); }

 private:
  Script<E> script_;
  const std::shared_ptr<Cancellation> cancellation_;
  size_t next_ = 0;
};

// Hands an event over, and waits until its taker wants the next one.
template <typename E>
void Deliver(const Callbacks<E>& callbacks, E event) {
  if (!callbacks.on_event_paced) {
    if (callbacks.on_event) callbacks.on_event(std::move(event));
    return;
  }
  struct Turn {
    Mutex mutex;
    CondVar changed;
    bool next ABSL_GUARDED_BY(mutex) = false;
  };
  const auto turn = std::make_shared<Turn>();
  callbacks.on_event_paced(std::move(event), [turn] {
    MutexLock lock(&turn->mutex);
    turn->next = true;
    turn->changed.NotifyAll();
  });
  MutexLock lock(&turn->mutex);
  while (!turn->next) turn->changed.Wait(&turn->mutex);
}

template <typename E>
void Play(Player<E> player, Callbacks<E> callbacks) {
  absl::Status status;
  while (auto event = player.Next()) {
    if (!event->ok()) {
      status = event->status();
      break;
    }
    Deliver(callbacks, **std::move(event));
  }
  if (callbacks.on_done) callbacks.on_done(std::move(status));
}

template <typename Request, typename E>
Script<E> Ask(const FakeConnection::Answer<Request, E>& answer, const Request& request,
              const CallOptions& options) {
  if (answer) return answer(request, options);
  return {.events = {},
          .status = absl::UnimplementedError("the test has not said what this call answers")};
}

}  // namespace

struct FakeConnection::Calls {
  const std::shared_ptr<std::atomic<int>> cancelled = std::make_shared<std::atomic<int>>(0);
  Mutex mutex;
  std::vector<std::thread> threads ABSL_GUARDED_BY(mutex);

  template <typename E>
  Stream<E> Read(Script<E> script) {
    return Stream<E>(
        std::make_unique<Player<E>>(std::move(script), std::make_shared<Cancellation>(cancelled)));
  }

  template <typename E>
  AsyncCall Report(Script<E> script, Callbacks<E> callbacks) {
    auto cancellation = std::make_shared<Cancellation>(cancelled);
    MutexLock lock(&mutex);
    threads.emplace_back([player = Player<E>(std::move(script), cancellation),
                          callbacks = std::move(callbacks)]() mutable {
      Play(std::move(player), std::move(callbacks));
    });
    return AsyncCall(cancellation);
  }

  // A callback may make another call while the threads are joined.
  void Join() {
    for (;;) {
      std::vector<std::thread> ending;
      {
        MutexLock lock(&mutex);
        ending.swap(threads);
      }
      if (ending.empty()) return;
      for (std::thread& thread : ending) {
        // A callback may hold the last of us.
        if (thread.get_id() == std::this_thread::get_id()) {
          thread.detach();
        } else {
          thread.join();
        }
      }
    }
  }
};

FakeConnection::FakeConnection() : calls_(std::make_shared<Calls>()) {}

FakeConnection::~FakeConnection() { calls_->Join(); }

int FakeConnection::cancelled() const { return *calls_->cancelled; }

SampleStream FakeConnection::Sample(const SampleRequest& request, const CallOptions& options) {
  return calls_->Read(Ask(on_sample, request, options));
}

AsyncCall FakeConnection::SampleAsync(const SampleRequest& request, SampleCallbacks callbacks,
                                      const CallOptions& options) {
  return calls_->Report(Ask(on_sample, request, options), std::move(callbacks));
}

DiffuseStream FakeConnection::Diffuse(const DiffuseRequest& request, const CallOptions& options) {
  return calls_->Read(Ask(on_diffuse, request, options));
}

EvaluateStream FakeConnection::Evaluate(const EvaluateRequest& request,
                                        const CallOptions& options) {
  return calls_->Read(Ask(on_evaluate, request, options));
}

AsyncCall FakeConnection::EvaluateAsync(const EvaluateRequest& request, EvaluateCallbacks callbacks,
                                        const CallOptions& options) {
  return calls_->Report(Ask(on_evaluate, request, options), std::move(callbacks));
}

absl::StatusOr<std::vector<Model>> FakeConnection::ListModels(const CallOptions& options) {
  return models;
}

absl::StatusOr<Model> FakeConnection::GetModel(const std::string& model, int64_t version,
                                               const CallOptions& options) {
  const Model* found = nullptr;
  for (const Model& one : models) {
    const bool named = model.empty() ? models.size() == 1 : one.name == model;
    if (named && (version == 0 || one.version == version)) found = &one;
  }
  if (found == nullptr) return absl::NotFoundError("model: '" + model + "' is not served");
  return *found;
}

absl::StatusOr<bool> FakeConnection::Healthy(const std::string& model, const CallOptions& options) {
  if (model.empty()) return healthy;
  for (const Model& one : models) {
    if (one.name == model) return healthy;
  }
  return absl::NotFoundError("model: '" + model + "' is not served");
}

}  // namespace testing
}  // namespace client_v1
}  // namespace denoise
