#include "denoise/admin_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/channel.h"
#include "client/src/decode.h"
#include "client/src/reach.h"
#include "client/src/reaper.h"
#include "client/src/unary_call.h"
#include "denoise/v1/diffusion.grpc.pb.h"
#include "grpcpp/grpcpp.h"

namespace denoise {
inline namespace client_v1 {

class AdminClient::Server {
 public:
  Server(const std::shared_ptr<grpc::Channel>& channel, ClientOptions options)
      : options_(std::move(options)), stub_(v1::ModelAdmin::NewStub(channel)) {}

  // One of the service's methods.
  template <typename Request, typename Response>
  using Method = grpc::Status (v1::ModelAdmin::Stub::*)(grpc::ClientContext*, const Request&,
                                                        Response*);

  template <typename Request, typename Response>
  absl::Status Call(Method<Request, Response> method, const std::string& model, int64_t version,
                    const CallOptions& options, Response* response) {
    Request request;
    request.set_model(model);
    request.set_model_version(version);
    return CallUnary(options_, options, [&](grpc::ClientContext* context) {
      return (stub_.get()->*method)(context, request, response);
    });
  }

  // One that answers the model.
  template <typename Request>
  absl::StatusOr<Model> Ask(Method<Request, v1::Model> method, const std::string& model,
                            int64_t version, const CallOptions& options) {
    v1::Model response;
    const absl::Status status = Call(method, model, version, options, &response);
    if (!status.ok()) return status;
    return DecodeModel(response);
  }

 private:
  const ClientOptions options_;
  const std::unique_ptr<v1::ModelAdmin::Stub> stub_;
};

absl::StatusOr<AdminClient> AdminClient::Connect(const std::string& address,
                                                 const ClientOptions& options) {
  if (options.retry.max_attempts != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "retry.max_attempts is ", options.retry.max_attempts,
        ": calls that change a server's models are made once; set it to 1, and look at what is "
        "served before you call again"));
  }
  auto channel = MakeChannel(address, options);
  if (!channel.ok()) return channel.status();
  auto server = MakeReaped<Server>(*channel, options);
  if (absl::Status status = Reach(*channel, address, options); !status.ok()) return status;
  return AdminClient(std::move(server));
}

AdminClient::AdminClient(std::shared_ptr<Server> server) : server_(std::move(server)) {}

absl::StatusOr<Model> AdminClient::LoadModel(const std::string& model, int64_t version,
                                             const CallOptions& options) {
  return server_->Ask(&v1::ModelAdmin::Stub::LoadModel, model, version, options);
}

absl::Status AdminClient::UnloadModel(const std::string& model, int64_t version,
                                      const CallOptions& options) {
  v1::UnloadModelResponse response;
  return server_->Call(&v1::ModelAdmin::Stub::UnloadModel, model, version, options, &response);
}

absl::StatusOr<Model> AdminClient::ReloadModel(const std::string& model, int64_t version,
                                               const CallOptions& options) {
  return server_->Ask(&v1::ModelAdmin::Stub::ReloadModel, model, version, options);
}

}  // namespace client_v1
}  // namespace denoise
