// A Connection over a gRPC channel.
#ifndef DENOISE_CLIENT_SRC_GRPC_CONNECTION_H_
#define DENOISE_CLIENT_SRC_GRPC_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "denoise/connection.h"

namespace denoise {
inline namespace client_v1 {

// See Client::Connect.
absl::StatusOr<std::shared_ptr<Connection>> ConnectByGrpc(const std::string& address,
                                                          const ClientOptions& options);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_GRPC_CONNECTION_H_
