#include "client/src/retries.h"

#include <algorithm>
#include <utility>

#include "denoise/error_details.h"

namespace denoise {
inline namespace client_v1 {

Retries::Retries(const RetryPolicy& policy, CallOptions options, absl::Duration default_timeout,
                 absl::Time now)
    : policy_(policy),
      options_(std::move(options)),
      deadline_(now +
                (options_.timeout == absl::ZeroDuration() ? default_timeout : options_.timeout)),
      backoff_(policy.initial_backoff) {}

std::optional<absl::Duration> Retries::After(const absl::Status& status, absl::Time now,
                                             double random) {
  if (attempts_ >= policy_.max_attempts ||
      std::count(policy_.codes.begin(), policy_.codes.end(), status.code()) == 0) {
    return std::nullopt;
  }
  absl::Duration delay = backoff_ / 2 + random * (backoff_ / 2);
  if (const auto asked = DetailsOf(status).retry_delay) delay = std::max(delay, *asked);
  if (now + delay >= deadline_) return std::nullopt;
  ++attempts_;
  backoff_ = std::min(policy_.max_backoff, backoff_ * policy_.multiplier);
  return delay;
}

CallOptions Retries::OptionsAt(absl::Time now) const {
  if (attempts_ == 1) return options_;  // as they are: what is wrong with them is told by the call
  CallOptions options = options_;
  // A timeout of zero would be none.
  options.timeout = std::max(deadline_ - now, absl::Nanoseconds(1));
  return options;
}

}  // namespace client_v1
}  // namespace denoise
