#ifndef DENOISE_TESTS_UNIT_ENGINE_FAKE_CLOCK_H_
#define DENOISE_TESTS_UNIT_ENGINE_FAKE_CLOCK_H_

#include <atomic>
#include <chrono>

#include "server/engine/clock.h"

namespace denoise {

// Stands still until it is moved.
class FakeClock : public Clock {
 public:
  SteadyTime Now() const override {
    return SteadyTime(std::chrono::nanoseconds(nanoseconds_.load()));
  }
  void Advance(std::chrono::nanoseconds by) { nanoseconds_ += by.count(); }

 private:
  std::atomic<int64_t> nanoseconds_{1'000'000'000};
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_ENGINE_FAKE_CLOCK_H_
