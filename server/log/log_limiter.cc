#include "server/log/log_limiter.h"

#include <utility>

namespace denoise {

std::optional<uint64_t> LogLimiter::Admit(Time now) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (now - second_ >= std::chrono::seconds(1)) {
    second_ = now;
    lines_ = 0;
  }
  if (lines_ == lines_per_second_) {
    ++left_out_;
    return std::nullopt;
  }
  ++lines_;
  return std::exchange(left_out_, 0);
}

}  // namespace denoise
