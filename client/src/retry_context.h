// What all calls of a RetryingConnection share.
#ifndef DENOISE_CLIENT_SRC_RETRY_CONTEXT_H_
#define DENOISE_CLIENT_SRC_RETRY_CONTEXT_H_

#include <functional>
#include <memory>
#include <optional>

#include "client/src/mutex.h"
#include "client/src/retries.h"
#include "client/src/timer.h"
#include "denoise/connection.h"

namespace denoise {
inline namespace client_v1 {

// Thread-safe; constant.
struct RetryContext {
  std::shared_ptr<Connection> connection;
  RetryPolicy policy;
  absl::Duration default_timeout;
  std::shared_ptr<Timer> timer;
  std::function<double()> random;

  Retries NewRetries(const CallOptions& options) const {
    return Retries(policy, options, default_timeout, timer->Now());
  }
  std::optional<absl::Duration> DelayAfter(const absl::Status& status, Retries* retries) const {
    return retries->After(status, timer->Now(), random());
  }
};

// A thread that waits for its next attempt.
class RetryPause {
 public:
  // False: was, or had been, interrupted.
  bool Wait(Timer& timer, absl::Duration delay) {
    {
      MutexLock lock(&slot_->mutex);
      slot_->due = false;
    }
    // The alarm may fire when nobody waits any more.
    const auto pending = timer.Start(delay, [slot = slot_](bool) {
      MutexLock lock(&slot->mutex);
      slot->due = true;
      slot->changed.NotifyAll();
    });
    bool interrupted;
    {
      MutexLock lock(&slot_->mutex);
      while (!slot_->due && !slot_->interrupted) slot_->changed.Wait(&slot_->mutex);
      interrupted = slot_->interrupted;
    }
    if (interrupted) pending->Cancel();
    return !interrupted;
  }

  // For good. From any thread.
  void Interrupt() {
    MutexLock lock(&slot_->mutex);
    slot_->interrupted = true;
    slot_->changed.NotifyAll();
  }

 private:
  struct Slot {
    Mutex mutex;
    CondVar changed;
    bool due ABSL_GUARDED_BY(mutex) = false;
    bool interrupted ABSL_GUARDED_BY(mutex) = false;
  };
  const std::shared_ptr<Slot> slot_ = std::make_shared<Slot>();
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_RETRY_CONTEXT_H_
