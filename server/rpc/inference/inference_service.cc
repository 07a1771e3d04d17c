#include "server/rpc/inference/inference_service.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "inference/grpc_service.grpc.pb.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/inference/infer_model.h"
#include "server/rpc/inference/infer_reactor.h"
#include "server/rpc/inference/infer_stream_reactor.h"
#include "server/rpc/inference/model_description.h"
#include "server/rpc/message_call.h"
#include "server/rpc/messages/text.h"

namespace denoise {

InferenceService::InferenceService(Backend backend, size_t max_regions)
    : RawService(inference::GRPCInferenceService::service_full_name()),
      backend_(std::move(backend)),
      validator_(backend_.limits, &tables_),
      shared_memory_(max_regions),
      statistics_(backend_.metrics),
      context_{.backend = &backend_,
               .validator = &validator_,
               .shared_memory = &shared_memory_,
               .statistics = &statistics_,
               .draining = &draining_,
               .in_flight = &in_flight_} {
  ServeUnary("ServerLive", &InferenceService::ServerLive);
  ServeUnary("ServerReady", &InferenceService::ServerReady);
  ServeUnary("ModelReady", &InferenceService::ModelReady);
  ServeUnary("ServerMetadata", &InferenceService::ServerMetadata);
  ServeUnary("ModelMetadata", &InferenceService::ModelMetadata);
  ServeUnary("ModelConfig", &InferenceService::ModelConfig);
  ServeUnary("ModelStatistics", &InferenceService::ModelStatistics);
  ServeUnary("RepositoryIndex", &InferenceService::RepositoryIndex);
  ServeUnary("SystemSharedMemoryStatus", &InferenceService::SystemSharedMemoryStatus);
  ServeUnary("SystemSharedMemoryRegister", &InferenceService::SystemSharedMemoryRegister);
  ServeUnary("SystemSharedMemoryUnregister", &InferenceService::SystemSharedMemoryUnregister);
  Serve("ModelInfer",
        [this](grpc::CallbackServerContext* call) { return InferReactor::Start(&context_, call); });
  Serve("ModelStreamInfer", [this](grpc::CallbackServerContext* call) {
    return InferStreamReactor::Start(&context_, call);
  });
}

template <typename Message, typename Response>
void InferenceService::ServeUnary(const char* name, Method<Message, Response> method) {
  Serve(name, [this, name, method](grpc::CallbackServerContext* call) {
    return UnaryCall<Message, Response>::Start(
        backend_.reception, call, name,
        [this, method](const Message& message, Response* response, CallRecord* record) {
          return (this->*method)(message, response, record);
        });
  });
}

absl::Status InferenceService::ServerLive(const inference::ServerLiveRequest& message,
                                          inference::ServerLiveResponse* response,
                                          CallRecord* record) {
  response->set_live(true);
  return absl::OkStatus();
}

absl::Status InferenceService::ServerReady(const inference::ServerReadyRequest& message,
                                           inference::ServerReadyResponse* response,
                                           CallRecord* record) {
  response->set_ready(!draining_.load(std::memory_order_relaxed));
  return absl::OkStatus();
}

absl::Status InferenceService::ModelReady(const inference::ModelReadyRequest& message,
                                          inference::ModelReadyResponse* response,
                                          CallRecord* record) {
  const auto entry = FindInferModel(*backend_.catalog, message.name(), message.version());
  // Of a model that is not there it is true that it is not ready.
  if (!entry.ok()) return absl::IsNotFound(entry.status()) ? absl::OkStatus() : entry.status();
  record->model = entry->model.info->name;
  response->set_ready(entry->status == ModelStatus::kServing &&
                      !draining_.load(std::memory_order_relaxed));
  return absl::OkStatus();
}

absl::Status InferenceService::ServerMetadata(const inference::ServerMetadataRequest& message,
                                              inference::ServerMetadataResponse* response,
                                              CallRecord* record) {
  response->set_name("denoised");
  response->set_version(DENOISE_VERSION);
  for (const char* extension : {"model_configuration", "statistics", "parameters"}) {
    response->add_extensions(extension);
  }
  if (shared_memory_.enabled()) response->add_extensions("system_shared_memory");
  return absl::OkStatus();
}

absl::Status InferenceService::ModelMetadata(const inference::ModelMetadataRequest& message,
                                             inference::ModelMetadataResponse* response,
                                             CallRecord* record) {
  const auto entry = FindInferModel(*backend_.catalog, message.name(), message.version());
  if (!entry.ok()) return entry.status();
  record->model = entry->model.info->name;
  std::vector<int64_t> versions;
  for (const CatalogEntry& other : backend_.catalog->Entries()) {
    if (other.model->name == record->model) versions.push_back(other.model->version);
  }
  DescribeModel(entry->model, versions, response);
  return absl::OkStatus();
}

absl::Status InferenceService::ModelConfig(const inference::ModelConfigRequest& message,
                                           inference::ModelConfigResponse* response,
                                           CallRecord* record) {
  const auto entry = FindInferModel(*backend_.catalog, message.name(), message.version());
  if (!entry.ok()) return entry.status();
  record->model = entry->model.info->name;
  DescribeConfig(entry->model, response->mutable_config());
  return absl::OkStatus();
}

absl::Status InferenceService::ModelStatistics(const inference::ModelStatisticsRequest& message,
                                               inference::ModelStatisticsResponse* response,
                                               CallRecord* record) {
  if (message.name().empty()) {
    for (const InferEntry& entry : AllInferModels(*backend_.catalog)) {
      statistics_.Describe(entry.model, response->add_model_stats());
    }
    return absl::OkStatus();
  }
  const auto entry = FindInferModel(*backend_.catalog, message.name(), message.version());
  if (!entry.ok()) return entry.status();
  record->model = entry->model.info->name;
  statistics_.Describe(entry->model, response->add_model_stats());
  return absl::OkStatus();
}

absl::Status InferenceService::RepositoryIndex(const inference::RepositoryIndexRequest& message,
                                               inference::RepositoryIndexResponse* response,
                                               CallRecord* record) {
  if (!message.repository_name().empty()) {
    return FieldError("repository_name", absl::StrCat(Quote(message.repository_name()),
                                                      " is not known; leave it empty, there is "
                                                      "one repository"));
  }
  for (const InferEntry& entry : AllInferModels(*backend_.catalog)) {
    if (message.ready() && entry.status != ModelStatus::kServing) continue;
    DescribeEntry(entry, response->add_models());
  }
  return absl::OkStatus();
}

absl::Status InferenceService::SystemSharedMemoryStatus(
    const inference::SystemSharedMemoryStatusRequest& message,
    inference::SystemSharedMemoryStatusResponse* response, CallRecord* record) {
  const auto regions = shared_memory_.Of(record->caller.tenant).Regions(message.name());
  if (!regions.ok()) return regions.status();
  for (const auto& [name, region] : *regions) {
    auto& status = (*response->mutable_regions())[name];
    status.set_name(name);
    status.set_key(region.key);
    status.set_offset(region.offset);
    status.set_byte_size(region.byte_size);
  }
  return absl::OkStatus();
}

absl::Status InferenceService::SystemSharedMemoryRegister(
    const inference::SystemSharedMemoryRegisterRequest& message,
    inference::SystemSharedMemoryRegisterResponse* response, CallRecord* record) {
  return shared_memory_.Of(record->caller.tenant)
      .Register(message.name(), {message.key(), message.offset(), message.byte_size()});
}

absl::Status InferenceService::SystemSharedMemoryUnregister(
    const inference::SystemSharedMemoryUnregisterRequest& message,
    inference::SystemSharedMemoryUnregisterResponse* response, CallRecord* record) {
  return shared_memory_.Of(record->caller.tenant).Unregister(message.name());
}

}  // namespace denoise
