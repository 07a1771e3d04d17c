// The events of a call's attempts as those of one call, read by a thread that waits.
#ifndef DENOISE_CLIENT_SRC_RETRYING_SOURCE_H_
#define DENOISE_CLIENT_SRC_RETRYING_SOURCE_H_

#include <memory>
#include <optional>
#include <utility>

#include "client/src/mutex.h"
#include "client/src/retry_context.h"
#include "denoise/stream.h"

namespace denoise {
inline namespace client_v1 {

// `Kind` is one of retrying_connection.cc.
template <typename Kind>
class RetryingSource final : public EventSource<typename Kind::Event> {
  using E = typename Kind::Event;

 public:
  RetryingSource(std::shared_ptr<const RetryContext> context, typename Kind::Request request,
                 const CallOptions& options)
      : context_(std::move(context)),
        retries_(context_->NewRetries(options)),
        progress_(std::move(request)),
        stream_(MakeAttempt()) {}

  std::optional<absl::StatusOr<E>> Next() override {
    for (;;) {
      if (at_) {
        ++*at_;
      } else {
        at_ = stream_.begin();
      }
      if (*at_ == stream_.end()) return std::nullopt;
      absl::StatusOr<E>& event = **at_;
      if (event.ok()) {
        const absl::StatusOr<bool> is_new = progress_.IsNew(*event);
        if (!is_new.ok()) {
          Cancel();
          return is_new.status();
        }
        if (*is_new) return std::move(event);
        continue;
      }
      const absl::Status failure = event.status();
      const auto delay = context_->DelayAfter(failure, &retries_);
      if (!delay) return failure;
      if (!pause_.Wait(*context_->timer, *delay) || !BeginAgain()) {
        return absl::CancelledError("cancelled before the call was retried");
      }
    }
  }

  void Cancel() override {
    pause_.Interrupt();
    MutexLock lock(&mutex_);
    cancelled_ = true;
    stream_.Cancel();
  }

 private:
  Stream<E> MakeAttempt() const {
    return Kind::Read(*context_->connection, progress_.request(),
                      retries_.OptionsAt(context_->timer->Now()));
  }

  bool BeginAgain() {
    Stream<E> next = MakeAttempt();
    at_.reset();
    MutexLock lock(&mutex_);
    if (cancelled_) return false;
    stream_ = std::move(next);
    return true;
  }

  const std::shared_ptr<const RetryContext> context_;
  // Of the thread that reads.
  Retries retries_;
  typename Kind::Progress progress_;
  std::optional<typename Stream<E>::Iterator> at_;

  RetryPause pause_;
  Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // Replaced by the reader under the mutex, cancelled by others under it, read without.
  Stream<E> stream_;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_RETRYING_SOURCE_H_
