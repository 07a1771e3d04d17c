#include "server/rpc/access/authentication.h"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/support/status.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/access/peer_address.h"
#include "server/rpc/messages/text.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

constexpr absl::string_view kScheme = "bearer ";
constexpr char kTenant[] = "denoise-tenant";

class MetadataProcessor final : public grpc::AuthMetadataProcessor {
 public:
  MetadataProcessor(const Authenticator* authenticator,
                    std::function<void(const absl::Status&)> on_refused)
      : authenticator_(authenticator), on_refused_(std::move(on_refused)) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context,
                       OutputMetadata* consumed, OutputMetadata* response) override {
    const auto path = metadata.find(":path");
    if (path != metadata.end()) {
      for (const char* service :
           {"/denoise.v1.", "/inference.GRPCInferenceService/", "/grpc.health.v1.Health/"}) {
        if (path->second.starts_with(service)) return grpc::Status::OK;
      }
    }
    const absl::Status status =
        authenticator_->Authenticate(metadata, context, "", std::nullopt).status();
    if (!status.ok() && on_refused_) on_refused_(status);
    return ToGrpc(status);
  }

 private:
  const Authenticator* const authenticator_;
  const std::function<void(const absl::Status&)> on_refused_;
};

// That the connection's certificate has; TLS has checked who vouches for it.
std::vector<std::string> NamesIn(const grpc::AuthContext* connection) {
  std::vector<std::string> names;
  if (connection == nullptr) return names;
  for (const grpc::string_ref& name : connection->FindPropertyValues(GRPC_X509_SAN_PROPERTY_NAME)) {
    names.emplace_back(name.data(), name.size());
  }
  return names;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Principal>> Authenticator::Find(
    const CallMetadata& metadata, const grpc::AuthContext* connection) const {
  const auto [begin, end] = metadata.equal_range("authorization");
  if (begin == end) {
    if (auto found = options_.tokens->OfCertificate(NamesIn(connection))) return found;
    return absl::UnauthenticatedError(
        "authorization: there is none; send the metadata 'authorization: Bearer TOKEN', or show a "
        "certificate that the server's token file names");
  }
  const absl::string_view value(begin->second.data(), begin->second.size());
  if (std::next(begin) != end || !absl::StartsWithIgnoreCase(value, kScheme)) {
    return absl::UnauthenticatedError("authorization: send one, in the form 'Bearer TOKEN'");
  }
  if (auto found = options_.tokens->OfToken(value.substr(kScheme.size()))) return found;
  return absl::UnauthenticatedError("authorization: the token is not one that this server takes");
}

absl::StatusOr<Principal> Authenticator::Authenticate(const CallMetadata& metadata,
                                                      const grpc::AuthContext* connection,
                                                      absl::string_view peer,
                                                      std::optional<Scope> scope) const {
  Principal principal = options_.anyone;
  if (options_.tokens != nullptr) {
    const auto found = Find(metadata, connection);
    if (!found.ok()) return found.status();
    principal = **found;
  } else if (options_.tenant_by_address) {
    principal.tenant = TenantOfPeer(peer);
  }
  if (scope.has_value() && !principal.Has(*scope)) {
    return absl::PermissionDeniedError(
        absl::StrCat("authorization: ", principal.name, " has not the scope ", Name(*scope),
                     ", which this call needs; use a credential that has"));
  }
  absl::StatusOr<std::optional<std::string>> tenant = NameIn(metadata, kTenant);
  if (!tenant.ok()) return tenant.status();
  if (tenant->has_value() && **tenant != principal.tenant) {
    if (!principal.may_name_tenant) {
      return FieldDenied(
          kTenant, absl::StrCat(Quote(**tenant),
                                " is not this caller's to name: leave it out, or ask who runs the "
                                "server for may_name_tenant or --tenant-by metadata"));
    }
    principal.tenant = **std::move(tenant);
  }
  return principal;
}

absl::Status Authenticator::Authenticate(const grpc::CallbackServerContext& call, Scope scope,
                                         Principal* caller) const {
  const std::shared_ptr<const grpc::AuthContext> connection =
      options_.tokens == nullptr ? nullptr : call.auth_context();
  absl::StatusOr<Principal> found =
      Authenticate(call.client_metadata(), connection.get(),
                   options_.tenant_by_address ? call.peer() : "", scope);
  if (!found.ok()) return found.status();
  *caller = *std::move(found);
  return absl::OkStatus();
}

std::shared_ptr<grpc::AuthMetadataProcessor> MakeMetadataProcessor(
    const Authenticator* authenticator, std::function<void(const absl::Status&)> on_refused) {
  return std::make_shared<MetadataProcessor>(authenticator, std::move(on_refused));
}

}  // namespace denoise
