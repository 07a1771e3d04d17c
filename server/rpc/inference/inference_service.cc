#include "server/rpc/inference/inference_service.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/call_metadata.h"
#include "server/rpc/inference/infer_model.h"
#include "server/rpc/inference/infer_reactor.h"
#include "server/rpc/inference/infer_stream_reactor.h"
#include "server/rpc/inference/model_description.h"
#include "server/rpc/status.h"
#include "server/rpc/messages/text.h"

namespace denoise {

InferenceService::InferenceService(Backend backend, bool shared_memory)
    : backend_(std::move(backend)),
      validator_(backend_.limits, &tables_),
      shared_memory_(shared_memory),
      statistics_(backend_.metrics),
      context_{.backend = &backend_,
               .validator = &validator_,
               .shared_memory = &shared_memory_,
               .statistics = &statistics_,
               .draining = &draining_,
               .in_flight = &in_flight_} {}

grpc::ServerUnaryReactor* InferenceService::Answer(
    grpc::CallbackServerContext* call, const char* method,
    const std::function<absl::Status(std::string* model)>& work) {
  CallRecord record;
  record.method = method;
  record.arrival = backend_.clock->Now();
  absl::Status status = Identify(*call, &record);
  if (status.ok()) status = work(&record.model);
  RecordCall(record, status, backend_.clock->Now(), backend_.metrics);
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::ServerLive(grpc::CallbackServerContext* call,
                                                       const inference::ServerLiveRequest*,
                                                       inference::ServerLiveResponse* response) {
  return Answer(call, "ServerLive", [&](std::string*) {
    response->set_live(true);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::ServerReady(grpc::CallbackServerContext* call,
                                                        const inference::ServerReadyRequest*,
                                                        inference::ServerReadyResponse* response) {
  return Answer(call, "ServerReady", [&](std::string*) {
    response->set_ready(!draining_.load(std::memory_order_relaxed));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::ModelReady(grpc::CallbackServerContext* call,
                                                       const inference::ModelReadyRequest* request,
                                                       inference::ModelReadyResponse* response) {
  return Answer(call, "ModelReady", [&](std::string* model) {
    const auto entry = FindInferModel(*backend_.catalog, request->name(), request->version());
    // Of a model that is not there it is true that it is not ready.
    if (!entry.ok()) return absl::IsNotFound(entry.status()) ? absl::OkStatus() : entry.status();
    *model = entry->model.info->name;
    response->set_ready(entry->status == ModelStatus::kServing &&
                        !draining_.load(std::memory_order_relaxed));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::ServerMetadata(
    grpc::CallbackServerContext* call, const inference::ServerMetadataRequest*,
    inference::ServerMetadataResponse* response) {
  return Answer(call, "ServerMetadata", [&](std::string*) {
    response->set_name("denoised");
    response->set_version(DENOISE_VERSION);
    for (const char* extension : {"model_configuration", "statistics", "parameters"}) {
      response->add_extensions(extension);
    }
    if (shared_memory_.enabled()) response->add_extensions("system_shared_memory");
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::ModelMetadata(
    grpc::CallbackServerContext* call, const inference::ModelMetadataRequest* request,
    inference::ModelMetadataResponse* response) {
  return Answer(call, "ModelMetadata", [&](std::string* model) {
    const auto entry = FindInferModel(*backend_.catalog, request->name(), request->version());
    if (!entry.ok()) return entry.status();
    *model = entry->model.info->name;
    std::vector<int64_t> versions;
    for (const CatalogEntry& other : backend_.catalog->Entries()) {
      if (other.model->name == *model) versions.push_back(other.model->version);
    }
    DescribeModel(entry->model, versions, response);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::ModelInfer(grpc::CallbackServerContext* call,
                                                       const inference::ModelInferRequest* request,
                                                       inference::ModelInferResponse* response) {
  return InferReactor::Start(&context_, call, *request, response);
}

grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
InferenceService::ModelStreamInfer(grpc::CallbackServerContext* call) {
  return InferStreamReactor::Start(&context_, call);
}

grpc::ServerUnaryReactor* InferenceService::ModelConfig(
    grpc::CallbackServerContext* call, const inference::ModelConfigRequest* request,
    inference::ModelConfigResponse* response) {
  return Answer(call, "ModelConfig", [&](std::string* model) {
    const auto entry = FindInferModel(*backend_.catalog, request->name(), request->version());
    if (!entry.ok()) return entry.status();
    *model = entry->model.info->name;
    DescribeConfig(entry->model, response->mutable_config());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::ModelStatistics(
    grpc::CallbackServerContext* call, const inference::ModelStatisticsRequest* request,
    inference::ModelStatisticsResponse* response) {
  return Answer(call, "ModelStatistics", [&](std::string* model) {
    if (request->name().empty()) {
      for (const InferEntry& entry : AllInferModels(*backend_.catalog)) {
        statistics_.Describe(entry.model, response->add_model_stats());
      }
      return absl::OkStatus();
    }
    const auto entry = FindInferModel(*backend_.catalog, request->name(), request->version());
    if (!entry.ok()) return entry.status();
    *model = entry->model.info->name;
    statistics_.Describe(entry->model, response->add_model_stats());
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::RepositoryIndex(
    grpc::CallbackServerContext* call, const inference::RepositoryIndexRequest* request,
    inference::RepositoryIndexResponse* response) {
  return Answer(call, "RepositoryIndex", [&](std::string*) {
    if (!request->repository_name().empty()) {
      return FieldError("repository_name", absl::StrCat(Quote(request->repository_name()),
                                                        " is not known; leave it empty, there is "
                                                        "one repository"));
    }
    for (const InferEntry& entry : AllInferModels(*backend_.catalog)) {
      if (request->ready() && entry.status != ModelStatus::kServing) continue;
      DescribeEntry(entry, response->add_models());
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::SystemSharedMemoryStatus(
    grpc::CallbackServerContext* call, const inference::SystemSharedMemoryStatusRequest* request,
    inference::SystemSharedMemoryStatusResponse* response) {
  return Answer(call, "SystemSharedMemoryStatus", [&](std::string*) {
    const auto regions = shared_memory_.Regions(request->name());
    if (!regions.ok()) return regions.status();
    for (const auto& [name, region] : *regions) {
      auto& status = (*response->mutable_regions())[name];
      status.set_name(name);
      status.set_key(region.key);
      status.set_offset(region.offset);
      status.set_byte_size(region.byte_size);
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* InferenceService::SystemSharedMemoryRegister(
    grpc::CallbackServerContext* call, const inference::SystemSharedMemoryRegisterRequest* request,
    inference::SystemSharedMemoryRegisterResponse*) {
  return Answer(call, "SystemSharedMemoryRegister", [&](std::string*) {
    return shared_memory_.Register(request->name(),
                                   {request->key(), request->offset(), request->byte_size()});
  });
}

grpc::ServerUnaryReactor* InferenceService::SystemSharedMemoryUnregister(
    grpc::CallbackServerContext* call,
    const inference::SystemSharedMemoryUnregisterRequest* request,
    inference::SystemSharedMemoryUnregisterResponse*) {
  return Answer(call, "SystemSharedMemoryUnregister",
                [&](std::string*) { return shared_memory_.Unregister(request->name()); });
}

}  // namespace denoise
