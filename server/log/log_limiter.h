// Keeps what many callers can make the server log from filling the disk.
#ifndef DENOISE_SERVER_LOG_LOG_LIMITER_H_
#define DENOISE_SERVER_LOG_LOG_LIMITER_H_

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

namespace denoise {

// So many lines a second, and how many were left out. Thread-safe.
class LogLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit LogLimiter(uint32_t lines_per_second) : lines_per_second_(lines_per_second) {}

  // Whether a line may be logged at `now`: how many were left out before it, or nullopt, and then
  // it is left out itself.
  std::optional<uint64_t> Admit(Time now);

 private:
  const uint32_t lines_per_second_;
  std::mutex mutex_;
  Time second_{};  // in which `lines_` were logged
  uint32_t lines_ = 0;
  uint64_t left_out_ = 0;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_LOG_LOG_LIMITER_H_
