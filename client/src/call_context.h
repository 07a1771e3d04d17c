// What goes with every call: deadline, metadata, token.
#ifndef DENOISE_CLIENT_SRC_CALL_CONTEXT_H_
#define DENOISE_CLIENT_SRC_CALL_CONTEXT_H_

#include "absl/status/status.h"
#include "denoise/options.h"
#include "grpcpp/client_context.h"

namespace denoise {
inline namespace client_v1 {

// INVALID_ARGUMENT for a name or value that gRPC would abort on.
absl::Status CheckMetadata(const Metadata& metadata);

// Readies `context`. INVALID_ARGUMENT for a bad timeout, request id, metadata or token, or what the
// source of tokens failed with; the context is then as it was.
absl::Status PrepareContext(const ClientOptions& client, const CallOptions& call,
                            grpc::ClientContext* context);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_CALL_CONTEXT_H_
