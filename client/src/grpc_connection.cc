#include "client/src/grpc_connection.h"

#include <utility>

#include "client/src/call_context.h"
#include "client/src/channel.h"
#include "client/src/decode.h"
#include "client/src/encode.h"
#include "client/src/event_call.h"
#include "client/src/event_source.h"
#include "client/src/reach.h"
#include "client/src/reaper.h"
#include "client/src/retrying_connection.h"
#include "client/src/stream_decoders.h"
#include "client/src/unary_call.h"
#include "denoise/v1/diffusion.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpcpp/grpcpp.h"

namespace denoise {
inline namespace client_v1 {
namespace {

using SampleCall = EventCall<v1::SampleRequest, v1::SampleEvent, Event, SampleDecoder>;
using DiffuseCall = EventCall<v1::DiffuseRequest, v1::DiffuseEvent, DiffuseEvent, DiffuseDecoder>;
using EvaluateCall =
    EventCall<v1::EvaluateRequest, v1::EvaluateEvent, EvaluateEvent, EvaluateDecoder>;

class GrpcConnection final : public Connection {
 public:
  GrpcConnection(const std::shared_ptr<grpc::Channel>& channel, ClientOptions options)
      : options_(std::move(options)),
        stub_(v1::Diffusion::NewStub(channel)),
        health_(grpc::health::v1::Health::NewStub(channel)) {}

  SampleStream Sample(const SampleRequest& request, const CallOptions& options) override {
    return Read<SampleCall, Event>(request, options);
  }

  AsyncCall SampleAsync(const SampleRequest& request, SampleCallbacks callbacks,
                        const CallOptions& options) override {
    return Report<SampleCall>(request, std::move(callbacks), options);
  }

  DiffuseStream Diffuse(const DiffuseRequest& request, const CallOptions& options) override {
    return Read<DiffuseCall, DiffuseEvent>(request, options);
  }

  EvaluateStream Evaluate(const EvaluateRequest& request, const CallOptions& options) override {
    return Read<EvaluateCall, EvaluateEvent>(request, options);
  }

  AsyncCall EvaluateAsync(const EvaluateRequest& request, EvaluateCallbacks callbacks,
                          const CallOptions& options) override {
    return Report<EvaluateCall>(request, std::move(callbacks), options);
  }

  absl::StatusOr<std::vector<Model>> ListModels(const CallOptions& options) override {
    v1::ListModelsResponse response;
    const auto status = CallUnary(options_, options, [&](grpc::ClientContext* context) {
      return stub_->ListModels(context, {}, &response);
    });
    if (!status.ok()) return status;
    std::vector<Model> models;
    for (const auto& wire : response.models()) {
      auto model = DecodeModel(wire);
      if (!model.ok()) return model.status();
      models.push_back(*std::move(model));
    }
    return models;
  }

  absl::StatusOr<Model> GetModel(const std::string& model, int64_t version,
                                 const CallOptions& options) override {
    v1::GetModelRequest request;
    request.set_model(model);
    request.set_model_version(version);
    v1::Model response;
    const auto status = CallUnary(options_, options, [&](grpc::ClientContext* context) {
      return stub_->GetModel(context, request, &response);
    });
    if (!status.ok()) return status;
    return DecodeModel(response);
  }

  absl::StatusOr<bool> Healthy(const std::string& model, const CallOptions& options) override {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(model);
    grpc::health::v1::HealthCheckResponse response;
    const auto status = CallUnary(options_, options, [&](grpc::ClientContext* context) {
      return health_->Check(context, request, &response);
    });
    if (!status.ok()) return status;
    return response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  }

 private:
  // A call that is read by threads that wait.
  template <typename StreamingCall, typename E, typename Request>
  Stream<E> Read(const Request& request, const CallOptions& options) {
    return Stream<E>(std::make_unique<WaitingSource<StreamingCall, E>>(
        [&](typename StreamingCall::OnEvent on_event, typename StreamingCall::OnEnd on_end) {
          return Start<StreamingCall>(request, options, std::move(on_event), std::move(on_end));
        }));
  }

  // A call that reports by callbacks.
  template <typename StreamingCall, typename Request, typename E>
  AsyncCall Report(const Request& request, Callbacks<E> callbacks, const CallOptions& options) {
    return AsyncCall(Start<StreamingCall>(
        request, options,
        [on_event = std::move(callbacks.on_event),
         on_event_paced = std::move(callbacks.on_event_paced)](StreamingCall* call, E event) {
          // The call owns itself until the last read has ended.
          if (on_event_paced) return on_event_paced(std::move(event), [call] { call->ReadNext(); });
          if (on_event) on_event(std::move(event));
          call->ReadNext();
        },
        [on_done = std::move(callbacks.on_done)](absl::Status status) {
          if (on_done) on_done(std::move(status));
        }));
  }

  template <typename StreamingCall, typename Request>
  std::shared_ptr<StreamingCall> Start(const Request& request, const CallOptions& options,
                                       typename StreamingCall::OnEvent on_event,
                                       typename StreamingCall::OnEnd on_end) {
    auto call =
        MakeReaped<StreamingCall>(Encode(request), typename StreamingCall::EventDecoder(request),
                                  std::move(on_event), std::move(on_end));
    absl::Status status = CheckSendable(request);
    status.Update(PrepareContext(options_, options, &call->context()));
    call->Start(std::move(status), [this](auto* context, auto* wire, auto* reactor) {
      this->Bind(context, wire, reactor);
    });
    return call;
  }

  void Bind(grpc::ClientContext* context, const v1::SampleRequest* request,
            grpc::ClientReadReactor<v1::SampleEvent>* reactor) {
    stub_->async()->Sample(context, request, reactor);
  }
  void Bind(grpc::ClientContext* context, const v1::DiffuseRequest* request,
            grpc::ClientReadReactor<v1::DiffuseEvent>* reactor) {
    stub_->async()->Diffuse(context, request, reactor);
  }
  void Bind(grpc::ClientContext* context, const v1::EvaluateRequest* request,
            grpc::ClientReadReactor<v1::EvaluateEvent>* reactor) {
    stub_->async()->Evaluate(context, request, reactor);
  }

  const ClientOptions options_;
  const std::unique_ptr<v1::Diffusion::Stub> stub_;
  const std::unique_ptr<grpc::health::v1::Health::Stub> health_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Connection>> ConnectByGrpc(const std::string& address,
                                                          const ClientOptions& options) {
  auto channel = MakeChannel(address, options);
  if (!channel.ok()) return channel.status();
  auto connection = MakeReaped<GrpcConnection>(*channel, options);
  if (absl::Status status = Reach(*channel, address, options); !status.ok()) return status;
  if (options.retry.max_attempts == 1) return connection;
  return WithRetries(connection, options.retry, options.default_timeout, SystemTimer());
}

}  // namespace client_v1
}  // namespace denoise
