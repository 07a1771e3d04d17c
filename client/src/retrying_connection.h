// A Connection that retries calls that fail.
#ifndef DENOISE_CLIENT_SRC_RETRYING_CONNECTION_H_
#define DENOISE_CLIENT_SRC_RETRYING_CONNECTION_H_

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "client/src/timer.h"
#include "denoise/connection.h"
#include "denoise/retry_policy.h"

namespace denoise {
inline namespace client_v1 {

// See RetryPolicy. `default_timeout` is that of calls that name none; `random` gives numbers of
// [0, 1) and is thread-safe.
std::shared_ptr<Connection> WithRetries(std::shared_ptr<Connection> connection,
                                        const RetryPolicy& policy, absl::Duration default_timeout,
                                        std::shared_ptr<Timer> timer,
                                        std::function<double()> random = nullptr);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_RETRYING_CONNECTION_H_
