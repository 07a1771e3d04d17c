// The Open Inference Protocol, with Triton's extensions, beside the API.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFERENCE_SERVICE_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFERENCE_SERVICE_H_

#include <atomic>

#include "absl/status/status.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/inference/infer_call.h"
#include "server/rpc/inference/infer_statistics.h"
#include "server/rpc/inference/shared_memory.h"
#include "server/rpc/messages/request_validator.h"
#include "server/rpc/messages/table_cache.h"
#include "server/rpc/raw_service.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server that it is registered with.
class InferenceService final : public RawService {
 public:
  // `max_regions`: of this machine's shared memory that callers may register; 0: they may not.
  InferenceService(Backend backend, size_t max_regions);

  // From now on new inferences are UNAVAILABLE; running ones go on.
  void Drain() { draining_.store(true, std::memory_order_relaxed); }
  // Inferences whose message was read and that are not over. A stream that has none does not count.
  int calls_in_flight() const { return in_flight_.load(std::memory_order_relaxed); }
  // Of shared memory, that are registered.
  size_t regions() const { return shared_memory_.size(); }

 private:
  // Of a method that says something of the server: fills in the response and, where the call is
  // about a model, the record.
  template <typename Message, typename Response>
  using Method = absl::Status (InferenceService::*)(const Message&, Response*, CallRecord*);
  template <typename Message, typename Response>
  void ServeUnary(const char* name, Method<Message, Response> method);

  absl::Status ServerLive(const inference::ServerLiveRequest& message,
                          inference::ServerLiveResponse* response, CallRecord* record);
  absl::Status ServerReady(const inference::ServerReadyRequest& message,
                           inference::ServerReadyResponse* response, CallRecord* record);
  absl::Status ModelReady(const inference::ModelReadyRequest& message,
                          inference::ModelReadyResponse* response, CallRecord* record);
  absl::Status ServerMetadata(const inference::ServerMetadataRequest& message,
                              inference::ServerMetadataResponse* response, CallRecord* record);
  absl::Status ModelMetadata(const inference::ModelMetadataRequest& message,
                             inference::ModelMetadataResponse* response, CallRecord* record);
  absl::Status ModelConfig(const inference::ModelConfigRequest& message,
                           inference::ModelConfigResponse* response, CallRecord* record);
  absl::Status ModelStatistics(const inference::ModelStatisticsRequest& message,
                               inference::ModelStatisticsResponse* response, CallRecord* record);
  absl::Status RepositoryIndex(const inference::RepositoryIndexRequest& message,
                               inference::RepositoryIndexResponse* response, CallRecord* record);
  absl::Status SystemSharedMemoryStatus(const inference::SystemSharedMemoryStatusRequest& message,
                                        inference::SystemSharedMemoryStatusResponse* response,
                                        CallRecord* record);
  absl::Status SystemSharedMemoryRegister(
      const inference::SystemSharedMemoryRegisterRequest& message,
      inference::SystemSharedMemoryRegisterResponse* response, CallRecord* record);
  absl::Status SystemSharedMemoryUnregister(
      const inference::SystemSharedMemoryUnregisterRequest& message,
      inference::SystemSharedMemoryUnregisterResponse* response, CallRecord* record);

  const Backend backend_;
  TableCache tables_;
  const RequestValidator validator_;
  SharedMemoryRegistry shared_memory_;
  InferStatistics statistics_;
  std::atomic<bool> draining_{false};
  std::atomic<int> in_flight_{0};
  const InferContext context_;  // of the above
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFERENCE_SERVICE_H_
