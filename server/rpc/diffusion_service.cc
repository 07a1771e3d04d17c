#include "server/rpc/diffusion_service.h"

#include <utility>

#include "denoise/v1/diffusion.grpc.pb.h"
#include "server/engine/shutting_down.h"
#include "server/rpc/call_metadata.h"
#include "server/rpc/message_call.h"
#include "server/rpc/messages/model_proto.h"
#include "server/rpc/status.h"
#include "server/rpc/stream_reactor.h"

namespace denoise {

DiffusionService::DiffusionService(Backend backend)
    : RawService(v1::Diffusion::service_full_name()),
      backend_(std::move(backend)),
      validator_(backend_.limits, &tables_) {
  ServeStream<v1::SampleRequest, v1::SampleEvent>("Sample");
  ServeStream<v1::DiffuseRequest, v1::DiffuseEvent>("Diffuse");
  ServeStream<v1::EvaluateRequest, v1::EvaluateEvent>("Evaluate");
  Serve("ListModels", [this](grpc::CallbackServerContext* context) {
    return UnaryCall<v1::ListModelsRequest, v1::ListModelsResponse>::Start(
        backend_.reception, context, "ListModels",
        [this](const v1::ListModelsRequest&, v1::ListModelsResponse* response, CallRecord*) {
          for (const CatalogEntry& entry : backend_.catalog->Entries()) {
            EncodeModel(entry, response->add_models());
          }
          return absl::OkStatus();
        });
  });
  Serve("GetModel", [this](grpc::CallbackServerContext* context) {
    return UnaryCall<v1::GetModelRequest, v1::Model>::Start(
        backend_.reception, context, "GetModel",
        [this](const v1::GetModelRequest& message, v1::Model* response, CallRecord* record) {
          return GetModel(message, response, record);
        });
  });
}

template <typename Message, typename Event>
void DiffusionService::ServeStream(const char* method) {
  Serve(method, [this, method](grpc::CallbackServerContext* context) {
    CallRecord record = backend_.reception->NewRecord(method);
    absl::Status allowed = backend_.reception->CheckCaller(*context, &record);
    if (allowed.ok() && draining_.load(std::memory_order_relaxed)) {
      allowed = WithReason(ShuttingDownError(), kDraining);
    }
    context->AddTrailingMetadata(kRequestId, record.id);
    return StreamReactor<Message, Event>::Start(
        &backend_, context, std::move(record), std::move(allowed),
        [this](const Message& message, CallRecord* record) { return Validate(message, record); },
        &calls_in_flight_);
  });
}

template <typename Message>
absl::StatusOr<Validated> DiffusionService::Validate(const Message& message,
                                                     CallRecord* record) const {
  const auto model = backend_.catalog->FindServing(message.model(), message.model_version());
  if (!model.ok()) return model.status();
  record->model = (*model)->name;
  return validator_.Validate(message, *model);
}

absl::Status DiffusionService::GetModel(const v1::GetModelRequest& message, v1::Model* response,
                                        CallRecord* record) const {
  const absl::StatusOr<CatalogEntry> entry =
      backend_.catalog->Find(message.model(), message.model_version());
  if (!entry.ok()) return entry.status();
  record->model = entry->model->name;
  EncodeModel(*entry, response);
  return absl::OkStatus();
}

}  // namespace denoise
