// Which calls are retried, when, and how often.
#ifndef DENOISE_RETRY_POLICY_H_
#define DENOISE_RETRY_POLICY_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace denoise {
inline namespace client_v1 {

// A call that has failed with one of `codes` is retried, on another connection where there is
// one, until it has been made `max_attempts` times or its timeout, which is that of all attempts
// together, leaves no time for another. Its caller then gets the last attempt's error.
//
// Before attempt k+1 the client waits a random time between half of b and b, with
// b = min(max_backoff, initial_backoff * multiplier^(k-1)), and at least as long as the server has
// asked for (RetryInfo, as in ErrorDetails::retry_delay).
//
// Every call may be made twice, because it changes nothing on a server and its seed says what it
// answers. A stream that breaks in its middle goes on: the new attempt asks for the model, version
// and seed that Accepted told; what the caller has seen already is left out, Accepted too. The new
// attempt runs the chains from their beginning. So the later events have the very bits that the
// first attempt would have given only where the two servers agree to the bit: the same build,
// model, layout and kind of machine, and denoised --batch-invariant. Elsewhere the states and the
// result from there on are those of a chain of the same seed that differs by rounding.
// If the new attempt's Accepted is not like the first (other steps or times, because the model
// has changed), the call ends with ABORTED. `states_dropped`, `timing` and `denoiser_rows` of a
// Result are the last attempt's. An on_event_paced whose event is held back holds back the retry.
struct RetryPolicy {
  int max_attempts = 1;                                      // 1 or more; 1: no retries
  absl::Duration initial_backoff = absl::Milliseconds(200);  // above 0
  absl::Duration max_backoff = absl::Seconds(10);            // at least initial_backoff
  double multiplier = 2;                                     // 1 or more
  // Besides UNAVAILABLE (no server, a lost connection, a server that shuts down),
  // RESOURCE_EXHAUSTED (its queue is full) makes sense.
  std::vector<absl::StatusCode> codes = {absl::StatusCode::kUnavailable};
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_RETRY_POLICY_H_
