// Statuses as gRPC gives them and as this library's callers see them.
#ifndef DENOISE_CLIENT_SRC_STATUS_H_
#define DENOISE_CLIENT_SRC_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace denoise {
inline namespace client_v1 {

// Code and message, and each google.rpc detail as a payload under its type's URL. Details that
// cannot be read are left out.
absl::Status FromGrpc(const grpc::Status& status);

// DATA_LOSS: the server has broken the protocol.
absl::Status Malformed(const std::string& what);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_STATUS_H_
