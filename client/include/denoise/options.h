// How a client connects, and how a call is made.
#ifndef DENOISE_OPTIONS_H_
#define DENOISE_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "denoise/credentials.h"
#include "denoise/retry_policy.h"

namespace denoise {
inline namespace client_v1 {

// Sent with a call as gRPC metadata. Names are lower-case letters, digits, '-', '_' and '.', values
// printable ASCII; for example {"denoise-tenant", "alice"}.
using Metadata = std::vector<std::pair<std::string, std::string>>;

// Which of several servers a call goes to.
enum class Balancing {
  kFirst,       // the first that answers, until its connection ends
  kRoundRobin,  // each in turn, of those whose health is SERVING
};

struct ClientOptions {
  // Absent: in the clear.
  std::optional<TlsOptions> tls;
  // Asked before every call, and before every attempt of one. Only with `tls`. Empty: no token.
  TokenSource token;
  Balancing balancing = Balancing::kFirst;
  // Of all calls but Healthy(), which reports the present state.
  RetryPolicy retry;
  // For how long Connect() tries to reach a server. Zero: it does not try, and the first call finds
  // out.
  absl::Duration connect_timeout = absl::Seconds(10);
  // Of a call that names none; infinite: no deadline.
  absl::Duration default_timeout = absl::InfiniteDuration();
  // Put before the library's own.
  std::string user_agent;
  // Sent with every call.
  Metadata metadata;
  // Of one answer, at least 1. A Result holds n·C·H·W·4 bytes.
  int64_t max_message_bytes = 64 << 20;
  // While a call is open and nothing comes, the server is asked for a sign of life this often (10 s
  // or more), and the call ends as UNAVAILABLE without one in `keepalive_timeout`.
  absl::Duration keepalive_time = absl::Seconds(30);
  absl::Duration keepalive_timeout = absl::Seconds(20);
};

struct CallOptions {
  // From the start of the call to its end; beyond, it is DEADLINE_EXCEEDED. Zero: the client's
  // default.
  absl::Duration timeout = absl::ZeroDuration();
  // Names the call in the server's log. Empty: the server makes one up.
  std::string request_id;
  // Besides the client's.
  Metadata metadata;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_OPTIONS_H_
