#include "server/rpc/diffusion_service.h"

#include <utility>

#include "server/engine/shutting_down.h"
#include "server/rpc/access/authentication.h"
#include "server/rpc/call_metadata.h"
#include "server/rpc/messages/model_proto.h"
#include "server/rpc/status.h"
#include "server/rpc/stream_reactor.h"

namespace denoise {

DiffusionService::DiffusionService(Backend backend)
    : backend_(std::move(backend)), validator_(backend_.limits, &tables_) {}

CallRecord DiffusionService::NewRecord(const char* method) const {
  CallRecord record;
  record.method = method;
  record.arrival = backend_.clock->Now();
  return record;
}

absl::Status DiffusionService::CheckCaller(const grpc::CallbackServerContext& context,
                                           CallRecord* record) const {
  if (absl::Status status = Identify(context, record); !status.ok()) return status;
  return Authenticate(backend_.tokens, context.client_metadata());
}

template <typename Message>
absl::StatusOr<Validated> DiffusionService::Validate(const grpc::CallbackServerContext& context,
                                                     const Message& message,
                                                     CallRecord* record) const {
  if (absl::Status status = CheckCaller(context, record); !status.ok()) return status;
  if (draining_.load(std::memory_order_relaxed)) {
    return WithReason(ShuttingDownError(), kDraining);
  }
  const auto model = backend_.catalog->FindServing(message.model(), message.model_version());
  if (!model.ok()) return model.status();
  record->model = (*model)->name;
  absl::StatusOr<std::string> tenant = TenantOf(context);
  if (!tenant.ok()) return tenant.status();
  record->tenant = *tenant;
  absl::StatusOr<Validated> validated = validator_.Validate(message, *model);
  if (validated.ok()) validated->request.tenant = *std::move(tenant);
  return validated;
}

template <typename Event, typename Message>
grpc::ServerWriteReactor<Event>* DiffusionService::StartStream(const char* method,
                                                               grpc::CallbackServerContext* context,
                                                               const Message& message) {
  calls_in_flight_.fetch_add(1, std::memory_order_relaxed);
  CallRecord record = NewRecord(method);
  absl::StatusOr<Validated> validated = Validate(*context, message, &record);
  context->AddTrailingMetadata(kRequestId, record.id);
  return StreamReactor<Event>::Start(
      &backend_, context, std::move(record), std::move(validated),
      [this] { calls_in_flight_.fetch_sub(1, std::memory_order_relaxed); });
}

grpc::ServerWriteReactor<v1::SampleEvent>* DiffusionService::Sample(
    grpc::CallbackServerContext* context, const v1::SampleRequest* request) {
  return StartStream<v1::SampleEvent>("Sample", context, *request);
}

grpc::ServerWriteReactor<v1::DiffuseEvent>* DiffusionService::Diffuse(
    grpc::CallbackServerContext* context, const v1::DiffuseRequest* request) {
  return StartStream<v1::DiffuseEvent>("Diffuse", context, *request);
}

grpc::ServerWriteReactor<v1::EvaluateEvent>* DiffusionService::Evaluate(
    grpc::CallbackServerContext* context, const v1::EvaluateRequest* request) {
  return StartStream<v1::EvaluateEvent>("Evaluate", context, *request);
}

grpc::ServerUnaryReactor* DiffusionService::FinishUnary(grpc::CallbackServerContext* context,
                                                        const CallRecord& record,
                                                        const absl::Status& status) {
  RecordCall(record, status, backend_.clock->Now(), backend_.metrics);
  context->AddTrailingMetadata(kRequestId, record.id);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

grpc::ServerUnaryReactor* DiffusionService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest* request,
                                                       v1::ListModelsResponse* response) {
  CallRecord record = NewRecord("ListModels");
  if (absl::Status status = CheckCaller(*context, &record); !status.ok()) {
    return FinishUnary(context, record, status);
  }
  for (const CatalogEntry& entry : backend_.catalog->Entries()) {
    EncodeModel(entry, response->add_models());
  }
  return FinishUnary(context, record, absl::OkStatus());
}

grpc::ServerUnaryReactor* DiffusionService::GetModel(grpc::CallbackServerContext* context,
                                                     const v1::GetModelRequest* request,
                                                     v1::Model* response) {
  CallRecord record = NewRecord("GetModel");
  if (absl::Status status = CheckCaller(*context, &record); !status.ok()) {
    return FinishUnary(context, record, status);
  }
  const absl::StatusOr<CatalogEntry> entry =
      backend_.catalog->Find(request->model(), request->model_version());
  if (entry.ok()) {
    record.model = entry->model->name;
    EncodeModel(*entry, response);
  }
  return FinishUnary(context, record, entry.status());
}

}  // namespace denoise
