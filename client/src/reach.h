// Whether there is a server behind a channel.
#ifndef DENOISE_CLIENT_SRC_REACH_H_
#define DENOISE_CLIENT_SRC_REACH_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "denoise/options.h"
#include "grpcpp/channel.h"

namespace denoise {
inline namespace client_v1 {

// Waits until the channel to `address` is connected, for options.connect_timeout at most; zero: it
// is OK at once. Else UNAVAILABLE, with what gRPC says of why.
absl::Status Reach(const std::shared_ptr<grpc::Channel>& channel, const std::string& address,
                   const ClientOptions& options);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_REACH_H_
