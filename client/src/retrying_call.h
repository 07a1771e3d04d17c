// The events of a call's attempts as those of one call, reported by callbacks.
#ifndef DENOISE_CLIENT_SRC_RETRYING_CALL_H_
#define DENOISE_CLIENT_SRC_RETRYING_CALL_H_

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "client/src/mutex.h"
#include "client/src/retry_context.h"
#include "denoise/async_call.h"

namespace denoise {
inline namespace client_v1 {

// Held by the attempt that runs or the alarm that waits, and by its caller's handle. `Kind` is one
// of retrying_connection.cc.
template <typename Kind>
class RetryingCall final : public AsyncCallControl,
                           public std::enable_shared_from_this<RetryingCall<Kind>> {
  using E = typename Kind::Event;

 public:
  static AsyncCall Start(std::shared_ptr<const RetryContext> context,
                         typename Kind::Request request, Callbacks<E> callbacks,
                         const CallOptions& options) {
    auto call = std::make_shared<RetryingCall>(std::move(context), std::move(request),
                                               std::move(callbacks), options);
    call->Begin();
    return AsyncCall(call);
  }

  // For Start().
  RetryingCall(std::shared_ptr<const RetryContext> context, typename Kind::Request request,
               Callbacks<E> callbacks, const CallOptions& options)
      : context_(std::move(context)),
        retries_(context_->NewRetries(options)),
        progress_(std::move(request)),
        callbacks_(std::move(callbacks)) {}

  void Cancel() override {
    std::optional<AsyncCall> attempt;
    std::shared_ptr<Timer::Pending> pause;
    {
      MutexLock lock(&mutex_);
      cancelled_ = true;
      attempt = attempt_;
      pause = pause_;
    }
    if (attempt) attempt->Cancel();
    if (pause != nullptr) pause->Cancel();
  }

 private:
  void Begin() {
    const auto self = this->shared_from_this();
    Callbacks<E> callbacks;
    if (callbacks_.on_event_paced) {
      callbacks.on_event_paced = [self](E event, std::function<void()> next) {
        if (!self->IsNew(event)) return next();
        self->callbacks_.on_event_paced(std::move(event), std::move(next));
      };
    } else {
      callbacks.on_event = [self](E event) {
        if (self->IsNew(event) && self->callbacks_.on_event) {
          self->callbacks_.on_event(std::move(event));
        }
      };
    }
    callbacks.on_done = [self](absl::Status status) { self->OnDone(std::move(status)); };
    int number;
    {
      MutexLock lock(&mutex_);
      number = ++attempts_;
      attempt_.reset();
    }
    const AsyncCall attempt =
        Kind::Report(*context_->connection, progress_.request(), std::move(callbacks),
                     retries_.OptionsAt(context_->timer->Now()));
    {
      MutexLock lock(&mutex_);
      // It may have ended by now, and the next one have begun.
      if (number != attempts_) return;
      attempt_ = attempt;
      if (!cancelled_) return;
    }
    attempt.Cancel();
  }

  // Events come one at a time, and none after the end of their attempt.
  bool IsNew(const E& event) {
    if (!mismatch_.ok()) return false;
    const absl::StatusOr<bool> is_new = progress_.IsNew(event);
    if (is_new.ok()) return *is_new;
    mismatch_ = is_new.status();
    Cancel();
    return false;
  }

  void OnDone(absl::Status status) {
    if (!mismatch_.ok()) return Finish(std::move(mismatch_));
    const auto delay = context_->DelayAfter(status, &retries_);
    if (!delay) return Finish(std::move(status));
    const auto pause = context_->timer->Start(
        *delay, [self = this->shared_from_this()](bool due) { self->OnAlarm(due); });
    {
      MutexLock lock(&mutex_);
      if (!cancelled_) {
        pause_ = pause;
        return;
      }
    }
    pause->Cancel();
  }

  void OnAlarm(bool due) {
    bool cancelled;
    {
      MutexLock lock(&mutex_);
      cancelled = cancelled_;
    }
    if (due && !cancelled) return Begin();
    Finish(absl::CancelledError("cancelled before the call was retried"));
  }

  void Finish(absl::Status status) {
    if (callbacks_.on_done) callbacks_.on_done(std::move(status));
    // What they hold must not live as long as a handle does.
    callbacks_ = {};
  }

  const std::shared_ptr<const RetryContext> context_;
  // Of the attempt that runs, or the alarm.
  Retries retries_;
  typename Kind::Progress progress_;
  Callbacks<E> callbacks_;
  absl::Status mismatch_;

  Mutex mutex_;
  int attempts_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<AsyncCall> attempt_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Timer::Pending> pause_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_RETRYING_CALL_H_
