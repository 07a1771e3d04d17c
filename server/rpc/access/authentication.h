// Authentication of callers.
#ifndef DENOISE_SERVER_RPC_ACCESS_AUTHENTICATION_H_
#define DENOISE_SERVER_RPC_ACCESS_AUTHENTICATION_H_

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/security/auth_context.h"
#include "grpcpp/security/auth_metadata_processor.h"
#include "grpcpp/server_context.h"
#include "server/rpc/access/principal.h"
#include "server/rpc/access/token_file.h"
#include "server/rpc/call_metadata.h"

namespace denoise {

// Thread-safe.
class Authenticator {
 public:
  struct Options {
    // Who must show a credential, and outlives it. Null: nobody, and all callers are `anyone`.
    TokenFile* tokens = nullptr;
    Principal anyone;
    // Without credentials: each address is a tenant, of IPv6 each /64, which one caller may have
    // all of. Otherwise all callers are one.
    bool tenant_by_address = false;
  };
  explicit Authenticator(Options options) : options_(std::move(options)) {}

  // Whose the call is, with the tenant that it is for. UNAUTHENTICATED unless it says
  // "authorization: Bearer TOKEN", once, with a token of the file, or says none, and its
  // certificate is one of the file. PERMISSION_DENIED without `scope`, and where it names a tenant
  // (denoise-tenant) that it may not name; INVALID_ARGUMENT where that is no name. `caller` is
  // unchanged then.
  absl::Status Authenticate(const grpc::CallbackServerContext& call, Scope scope,
                            Principal* caller) const;
  // The same of a call's parts. `peer` as of ServerContext::peer(). Any scope where none is given.
  absl::StatusOr<Principal> Authenticate(const CallMetadata& metadata,
                                         const grpc::AuthContext* connection,
                                         absl::string_view peer, std::optional<Scope> scope) const;

 private:
  absl::StatusOr<std::shared_ptr<const Principal>> Find(const CallMetadata& metadata,
                                                        const grpc::AuthContext* connection) const;

  const Options options_;
};

// Asks for a credential of any scope for every call of every service before it reaches it, but of
// two kinds: our own services, which ask by themselves, so that their refusals have details; and
// health, which is open to probes and balancers that have no token. That leaves reflection, and
// what is served by nobody. `on_refused` is told of each refusal, from any thread. `authenticator`
// outlives it. gRPC takes it with TLS only.
std::shared_ptr<grpc::AuthMetadataProcessor> MakeMetadataProcessor(
    const Authenticator* authenticator, std::function<void(const absl::Status&)> on_refused);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_AUTHENTICATION_H_
