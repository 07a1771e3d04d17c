// Time, and what is to be done later; injected, so that tests need not wait.
#ifndef DENOISE_CLIENT_SRC_TIMER_H_
#define DENOISE_CLIENT_SRC_TIMER_H_

#include <functional>
#include <memory>

#include "absl/time/time.h"

namespace denoise {
inline namespace client_v1 {

// Thread-safe.
class Timer {
 public:
  class Pending {
   public:
    virtual ~Pending() = default;
    // From any thread; more than once.
    virtual void Cancel() = 0;
  };
  // Told once, on another thread than Start() and Cancel() are called on: true when the time has
  // come, false when it was cancelled before.
  using Alarm = std::function<void(bool due)>;

  virtual ~Timer() = default;
  virtual absl::Time Now() const = 0;
  // The alarm fires even if nobody holds the result.
  virtual std::shared_ptr<Pending> Start(absl::Duration delay, Alarm alarm) = 0;
};

// By gRPC's own timers, without a thread of ours.
std::shared_ptr<Timer> SystemTimer();

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_TIMER_H_
