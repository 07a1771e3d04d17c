#include "server/engine/token_bucket.h"

#include <algorithm>

namespace denoise {
namespace {

// Less than this is the rounding of the time that was waited.
constexpr double kInstant = 1e-6;
// Of what is owed, so that no time overflows.
constexpr double kMostSeconds = 365.0 * 24 * 3600;

std::chrono::nanoseconds Nanoseconds(double seconds) {
  return std::chrono::nanoseconds(static_cast<int64_t>(std::min(seconds, kMostSeconds) * 1e9));
}

}  // namespace

std::chrono::nanoseconds TokenBucket::Wait(double tokens, const Rate& rate, SteadyTime now) const {
  if (rate.per_second == 0 || tokens == 0) return std::chrono::nanoseconds(0);
  const double missing = std::max(0.0, SecondsBetween(now, full_at_)) * rate.per_second;
  const double needed = std::min(tokens, rate.burst);
  const double seconds = (needed - (rate.burst - missing)) / rate.per_second;
  return seconds < kInstant ? std::chrono::nanoseconds(0) : Nanoseconds(seconds);
}

void TokenBucket::Take(double tokens, const Rate& rate, SteadyTime now) {
  if (rate.per_second == 0) return;
  full_at_ = std::max(full_at_, now) + Nanoseconds(tokens / rate.per_second);
}

}  // namespace denoise
