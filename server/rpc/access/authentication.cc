#include "server/rpc/access/authentication.h"

#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "grpcpp/support/status.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

constexpr absl::string_view kScheme = "bearer ";

class Authenticator final : public grpc::AuthMetadataProcessor {
 public:
  Authenticator(TokenFile* tokens, std::function<void(const absl::Status&)> on_refused)
      : tokens_(tokens), on_refused_(std::move(on_refused)) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context,
                       OutputMetadata* consumed, OutputMetadata* response) override {
    const auto path = metadata.find(":path");
    if (path != metadata.end()) {
      for (const char* service : {"/denoise.v1.Diffusion/", "/inference.GRPCInferenceService/",
                                  "/grpc.health.v1.Health/"}) {
        if (path->second.starts_with(service)) return grpc::Status::OK;
      }
    }
    const absl::Status status = Authenticate(tokens_, metadata);
    if (!status.ok() && on_refused_) on_refused_(status);
    return ToGrpc(status);
  }

 private:
  TokenFile* const tokens_;
  const std::function<void(const absl::Status&)> on_refused_;
};

}  // namespace

absl::Status Authenticate(TokenFile* tokens, const CallMetadata& metadata) {
  if (tokens == nullptr) return absl::OkStatus();
  const auto [begin, end] = metadata.equal_range("authorization");
  if (begin == end) {
    return absl::UnauthenticatedError(
        "authorization: there is none; send the metadata 'authorization: Bearer TOKEN'");
  }
  const absl::string_view value(begin->second.data(), begin->second.size());
  if (std::next(begin) != end || !absl::StartsWithIgnoreCase(value, kScheme)) {
    return absl::UnauthenticatedError("authorization: send one, in the form 'Bearer TOKEN'");
  }
  if (!tokens->Accepts(value.substr(kScheme.size()))) {
    return absl::UnauthenticatedError("authorization: the token is not one that this server takes");
  }
  return absl::OkStatus();
}

std::shared_ptr<grpc::AuthMetadataProcessor> MakeAuthenticator(
    TokenFile* tokens, std::function<void(const absl::Status&)> on_refused) {
  return std::make_shared<Authenticator>(tokens, std::move(on_refused));
}

}  // namespace denoise
