// Authentication of callers.
#ifndef DENOISE_SERVER_RPC_ACCESS_AUTHENTICATION_H_
#define DENOISE_SERVER_RPC_ACCESS_AUTHENTICATION_H_

#include <functional>
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

// Asks the same of every call of every service before it reaches it, but of two kinds: our own
// services, which ask by themselves, so that their refusals have details; and health, which is open
// to probes and balancers that have no token. That leaves reflection, and what is served by nobody.
// `on_refused` is told of each refusal, from any thread. `tokens` is not null and outlives it. gRPC
// takes it with TLS only.
std::shared_ptr<grpc::AuthMetadataProcessor> MakeAuthenticator(
    TokenFile* tokens, std::function<void(const absl::Status&)> on_refused);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_AUTHENTICATION_H_
