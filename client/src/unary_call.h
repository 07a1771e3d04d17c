// A call with one answer, whose thread waits for it.
#ifndef DENOISE_CLIENT_SRC_UNARY_CALL_H_
#define DENOISE_CLIENT_SRC_UNARY_CALL_H_

#include "absl/status/status.h"
#include "client/src/call_context.h"
#include "client/src/status.h"
#include "denoise/options.h"
#include "grpcpp/client_context.h"

namespace denoise {
inline namespace client_v1 {

// Makes the call `rpc`, a function of grpc::ClientContext* that gives grpc::Status, with the
// deadline, metadata and token of those options. The errors of PrepareContext, and the server's.
template <typename Rpc>
absl::Status CallUnary(const ClientOptions& client, const CallOptions& options, Rpc rpc) {
  grpc::ClientContext context;
  const absl::Status status = PrepareContext(client, options, &context);
  return status.ok() ? FromGrpc(rpc(&context)) : status;
}

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_UNARY_CALL_H_
