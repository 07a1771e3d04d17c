// The arithmetic of a RetryPolicy, for one call.
#ifndef DENOISE_CLIENT_SRC_RETRIES_H_
#define DENOISE_CLIENT_SRC_RETRIES_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "denoise/options.h"
#include "denoise/retry_policy.h"

namespace denoise {
inline namespace client_v1 {

// Not thread-safe.
class Retries {
 public:
  // Of a call that is made with `options` at `now`, by a client with that default timeout.
  Retries(const RetryPolicy& policy, CallOptions options, absl::Duration default_timeout,
          absl::Time now);

  // How long to wait until the call that has failed with `status` is retried; nullopt: it has
  // failed for good. `random` is of [0, 1).
  std::optional<absl::Duration> After(const absl::Status& status, absl::Time now, double random);

  // Of the attempt that is made now: the call's, with the time that is left.
  CallOptions OptionsAt(absl::Time now) const;

 private:
  const RetryPolicy policy_;
  const CallOptions options_;
  const absl::Time deadline_;
  int attempts_ = 1;
  absl::Duration backoff_;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_RETRIES_H_
