// Authentication of callers.
#ifndef DENOISE_SERVER_RPC_ACCESS_AUTHENTICATION_H_
#define DENOISE_SERVER_RPC_ACCESS_AUTHENTICATION_H_

#include <map>
#include <memory>

#include "absl/status/status.h"
#include "grpcpp/security/auth_metadata_processor.h"
#include "grpcpp/support/string_ref.h"
#include "server/rpc/access/token_file.h"

namespace denoise {

using CallMetadata = std::multimap<grpc::string_ref, grpc::string_ref>;

// UNAUTHENTICATED unless the call says "authorization: Bearer TOKEN", once, with one of `tokens`.
// Null: everybody may call. Thread-safe.
absl::Status Authenticate(TokenFile* tokens, const CallMetadata& metadata);

// Asks the same of every call of every service before it reaches it, but for two: denoise.v1's own,
// which asks by itself, so that its refusals have details, metrics and a line in the log; and
// health, which is open to probes and balancers that have no token. `tokens` is not null and
// outlives it. gRPC takes it with TLS only.
std::shared_ptr<grpc::AuthMetadataProcessor> MakeAuthenticator(TokenFile* tokens);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_AUTHENTICATION_H_
