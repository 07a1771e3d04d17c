// The Open Inference Protocol, with Triton's extensions, beside the API.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFERENCE_SERVICE_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFERENCE_SERVICE_H_

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "inference/grpc_service.grpc.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/inference/infer_call.h"
#include "server/rpc/inference/infer_statistics.h"
#include "server/rpc/inference/shared_memory.h"
#include "server/rpc/messages/request_validator.h"
#include "server/rpc/messages/table_cache.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server that it is registered with.
class InferenceService final : public inference::GRPCInferenceService::CallbackService {
 public:
  // `shared_memory`: whether callers may register regions of this machine's shared memory.
  InferenceService(Backend backend, bool shared_memory);

  // From now on new inferences are UNAVAILABLE; running ones go on.
  void Drain() { draining_.store(true, std::memory_order_relaxed); }
  // Inferences that are not over. A stream that has none does not count.
  int calls_in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* call,
                                       const inference::ServerLiveRequest* request,
                                       inference::ServerLiveResponse* response) override;
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* call,
                                        const inference::ServerReadyRequest* request,
                                        inference::ServerReadyResponse* response) override;
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* call,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* call,
                                           const inference::ServerMetadataRequest* request,
                                           inference::ServerMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* call,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* call,
                                       const inference::ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override;
  grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
  ModelStreamInfer(grpc::CallbackServerContext* call) override;
  grpc::ServerUnaryReactor* ModelConfig(grpc::CallbackServerContext* call,
                                        const inference::ModelConfigRequest* request,
                                        inference::ModelConfigResponse* response) override;
  grpc::ServerUnaryReactor* ModelStatistics(grpc::CallbackServerContext* call,
                                            const inference::ModelStatisticsRequest* request,
                                            inference::ModelStatisticsResponse* response) override;
  grpc::ServerUnaryReactor* RepositoryIndex(grpc::CallbackServerContext* call,
                                            const inference::RepositoryIndexRequest* request,
                                            inference::RepositoryIndexResponse* response) override;
  grpc::ServerUnaryReactor* SystemSharedMemoryStatus(
      grpc::CallbackServerContext* call, const inference::SystemSharedMemoryStatusRequest* request,
      inference::SystemSharedMemoryStatusResponse* response) override;
  grpc::ServerUnaryReactor* SystemSharedMemoryRegister(
      grpc::CallbackServerContext* call,
      const inference::SystemSharedMemoryRegisterRequest* request,
      inference::SystemSharedMemoryRegisterResponse* response) override;
  grpc::ServerUnaryReactor* SystemSharedMemoryUnregister(
      grpc::CallbackServerContext* call,
      const inference::SystemSharedMemoryUnregisterRequest* request,
      inference::SystemSharedMemoryUnregisterResponse* response) override;

 private:
  // Answers a call that says something of the server: `work` fills in the response, and the name of
  // the model that it is about, where there is one.
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* call, const char* method,
                                   const std::function<absl::Status(std::string* model)>& work);

  const Backend backend_;
  TableCache tables_;
  const RequestValidator validator_;
  SharedMemory shared_memory_;
  InferStatistics statistics_;
  std::atomic<bool> draining_{false};
  std::atomic<int> in_flight_{0};
  const InferContext context_;  // of the above
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFERENCE_SERVICE_H_
