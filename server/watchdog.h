// Notices that a denoiser's call does not come back.
#ifndef DENOISE_SERVER_WATCHDOG_H_
#define DENOISE_SERVER_WATCHDOG_H_

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/engine/clock.h"
#include "server/engine/mutex.h"

namespace denoise {

// Looks at what engines are doing, several times within the limit. A call of LibTorch cannot be
// ended from outside, so nothing but the end of the process helps one that hangs; a device that is
// lost often hangs so. But a call may also be slow for once, so there is a time between the two.
class Watchdog {
 public:
  struct Engine {
    std::string device;  // "cpu:0"
    // Since when its turn (a tick and the errands before it) has lasted; absent: it waits for work.
    std::function<std::optional<SteadyTime>()> busy_since;
  };
  struct Options {
    std::chrono::nanoseconds limit;  // of a turn
    std::vector<Engine> engines;
    const Clock* clock = nullptr;  // outlives the watchdog
    // Some engine has been busy for longer than the limit, or none is any more.
    std::function<void(bool hangs)> on_change;
    // One has been for twice as long. Called once.
    std::function<void()> on_end;
  };

  // Starts the thread that looks.
  explicit Watchdog(Options options);
  ~Watchdog();

  // A look, from the thread that looks or, where there is none, from a test.
  void Look();

  // For tests: without a thread.
  struct WithoutThread {};
  Watchdog(Options options, WithoutThread) : options_(std::move(options)) {}

 private:
  void Loop();

  const Options options_;
  bool hangs_ = false;
  bool ended_ = false;

  Mutex mutex_;
  CondVar condition_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last
};

}  // namespace denoise

#endif  // DENOISE_SERVER_WATCHDOG_H_
