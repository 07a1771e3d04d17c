// From ClientOptions to a gRPC channel.
#ifndef DENOISE_CLIENT_SRC_CHANNEL_H_
#define DENOISE_CLIENT_SRC_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "denoise/options.h"
#include "grpcpp/channel.h"

namespace denoise {
inline namespace client_v1 {

// Not connected yet. INVALID_ARGUMENT for an invalid address or option.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address,
                                                           const ClientOptions& options);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_CHANNEL_H_
