#include "denoise/client.h"

#include <utility>

#include "client/src/grpc_connection.h"

namespace denoise {
inline namespace client_v1 {

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
  std::optional<Result> result;
  for (auto& event : Sample(request, options)) {
    if (!event.ok()) return event.status();
    if (auto* last = std::get_if<Result>(&*event)) result = std::move(*last);
  }
  // Our own connection never ends well without one; a mock may.
  if (!result) return absl::InternalError("the stream ended without a result");
  return *std::move(result);
}

AsyncCall Client::SampleAsync(const SampleRequest& request, SampleCallbacks callbacks,
                              const CallOptions& options) {
  return connection_->SampleAsync(request, std::move(callbacks), options);
}

DiffuseStream Client::Diffuse(const DiffuseRequest& request, const CallOptions& options) {
  return connection_->Diffuse(request, options);
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

}  // namespace client_v1
}  // namespace denoise
