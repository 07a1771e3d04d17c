// Steady time, injected, so that tests need not wait.
#ifndef DENOISE_SERVER_ENGINE_CLOCK_H_
#define DENOISE_SERVER_ENGINE_CLOCK_H_

#include <chrono>

namespace denoise {

using SteadyTime = std::chrono::steady_clock::time_point;

// Seconds from a to b.
inline double SecondsBetween(SteadyTime a, SteadyTime b) {
  return std::chrono::duration<double>(b - a).count();
}

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime Now() const = 0;
};

class SystemClock : public Clock {
 public:
  SteadyTime Now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_CLOCK_H_
