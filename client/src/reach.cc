#include "client/src/reach.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/src/unary_call.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace denoise {
inline namespace client_v1 {

absl::Status Reach(const std::shared_ptr<grpc::Channel>& channel, const std::string& address,
                   const ClientOptions& options) {
  if (options.connect_timeout <= absl::ZeroDuration()) return absl::OkStatus();
  const auto deadline =
      absl::ToChronoTime(absl::Now() + std::min(options.connect_timeout, absl::Hours(24 * 365)));
  if (channel->WaitForConnected(deadline)) return absl::OkStatus();
  // A call on a channel that cannot connect fails at once, and says what the channel does not.
  CallOptions call;
  call.timeout = absl::Seconds(1);
  grpc::health::v1::HealthCheckResponse response;
  const auto health = grpc::health::v1::Health::NewStub(channel);
  const absl::Status status = CallUnary(options, call, [&](grpc::ClientContext* context) {
    return health->Check(context, {}, &response);
  });
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("no server at ", address, " within ",
                                             absl::FormatDuration(options.connect_timeout), ": ",
                                             std::string(status.message())));
}

}  // namespace client_v1
}  // namespace denoise
