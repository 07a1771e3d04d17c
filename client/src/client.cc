#include "denoise/client.h"

#include <utility>

#include "client/src/grpc_connection.h"

namespace denoise {
inline namespace client_v1 {
namespace {

// The event of type Last that a stream ends with.
template <typename Last, typename E>
absl::StatusOr<Last> LastOf(Stream<E> stream) {
  std::optional<Last> found;
  for (auto& event : stream) {
    if (!event.ok()) return event.status();
    if (auto* last = std::get_if<Last>(&*event)) found = std::move(*last);
  }
  // Our own connection never ends well without one; a mock may.
  if (!found) return absl::InternalError("the stream ended without a result");
  return *std::move(found);
}

}  // namespace

absl::StatusOr<Client> Client::Connect(const std::string& address, const ClientOptions& options) {
  auto connection = ConnectByGrpc(address, options);
  if (!connection.ok()) return connection.status();
  return Client(*std::move(connection));
}

Client::Client(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

SampleStream Client::Sample(const SampleRequest& request, const CallOptions& options) {
  return connection_->Sample(request, options);
}

absl::StatusOr<Result> Client::SampleAndWait(const SampleRequest& request,
                                             const CallOptions& options) {
  return LastOf<Result>(Sample(request, options));
}

AsyncCall Client::SampleAsync(const SampleRequest& request, SampleCallbacks callbacks,
                              const CallOptions& options) {
  return connection_->SampleAsync(request, std::move(callbacks), options);
}

DiffuseStream Client::Diffuse(const DiffuseRequest& request, const CallOptions& options) {
  return connection_->Diffuse(request, options);
}

EvaluateStream Client::Evaluate(const EvaluateRequest& request, const CallOptions& options) {
  return connection_->Evaluate(request, options);
}

absl::StatusOr<Likelihood> Client::EvaluateAndWait(const EvaluateRequest& request,
                                                   const CallOptions& options) {
  return LastOf<Likelihood>(Evaluate(request, options));
}

AsyncCall Client::EvaluateAsync(const EvaluateRequest& request, EvaluateCallbacks callbacks,
                                const CallOptions& options) {
  return connection_->EvaluateAsync(request, std::move(callbacks), options);
}

absl::StatusOr<std::vector<Model>> Client::ListModels(const CallOptions& options) {
  return connection_->ListModels(options);
}

absl::StatusOr<Model> Client::GetModel(const std::string& model, int64_t version,
                                       const CallOptions& options) {
  return connection_->GetModel(model, version, options);
}

absl::StatusOr<bool> Client::Healthy(const std::string& model, const CallOptions& options) {
  return connection_->Healthy(model, options);
}

const char* Name(Model::Status status) {
  switch (status) {
    case Model::Status::kUnknown:
      return "UNKNOWN";
    case Model::Status::kLoading:
      return "LOADING";
    case Model::Status::kServing:
      return "SERVING";
    case Model::Status::kDraining:
      return "DRAINING";
  }
  return "UNKNOWN";
}

const std::vector<std::pair<std::string, Sampler::Kind>>& NamedSamplers() {
  // Never destroyed, so that it may be used while a program ends.
  static const auto* const samplers = new std::vector<std::pair<std::string, Sampler::Kind>>{
      {"ddpm", Sampler::Kind::kDdpm},
      {"ddim", Sampler::Kind::kDdim},
      {"euler", Sampler::Kind::kEuler},
      {"euler_ancestral", Sampler::Kind::kEulerAncestral},
      {"heun", Sampler::Kind::kHeun},
      {"dpmpp_2m", Sampler::Kind::kDpmpp2M},
      {"sde_dpmpp_2m", Sampler::Kind::kSdeDpmpp2M},
      {"dpmpp_3m", Sampler::Kind::kDpmpp3M},
      {"unipc", Sampler::Kind::kUniPc},
      {"lms", Sampler::Kind::kLms},
      {"pndm", Sampler::Kind::kPndm},
      {"deis", Sampler::Kind::kDeis}};
  return *samplers;
}

}  // namespace client_v1
}  // namespace denoise
