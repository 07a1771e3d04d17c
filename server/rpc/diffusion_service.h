// The gRPC service of the API.
#ifndef DENOISE_SERVER_RPC_DIFFUSION_SERVICE_H_
#define DENOISE_SERVER_RPC_DIFFUSION_SERVICE_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.grpc.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_record.h"
#include "server/rpc/messages/request_validator.h"
#include "server/rpc/messages/table_cache.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server that it is registered with.
class DiffusionService final : public v1::Diffusion::CallbackService {
 public:
  explicit DiffusionService(Backend backend);

  // From now on new calls of Sample, Diffuse and Evaluate are UNAVAILABLE (DRAINING, with
  // RetryInfo); running ones go on.
  void Drain() { draining_.store(true, std::memory_order_relaxed); }

  // Of those calls, the ones that are not over.
  int calls_in_flight() const { return calls_in_flight_.load(std::memory_order_relaxed); }

  grpc::ServerWriteReactor<v1::SampleEvent>* Sample(grpc::CallbackServerContext* context,
                                                    const v1::SampleRequest* request) override;
  grpc::ServerWriteReactor<v1::DiffuseEvent>* Diffuse(grpc::CallbackServerContext* context,
                                                      const v1::DiffuseRequest* request) override;
  grpc::ServerWriteReactor<v1::EvaluateEvent>* Evaluate(
      grpc::CallbackServerContext* context, const v1::EvaluateRequest* request) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::Model* response) override;

 private:
  template <typename Event, typename Message>
  grpc::ServerWriteReactor<Event>* StartStream(const char* method,
                                               grpc::CallbackServerContext* context,
                                               const Message& message);
  template <typename Message>
  absl::StatusOr<Validated> Validate(const grpc::CallbackServerContext& context,
                                     const Message& message, CallRecord* record) const;
  CallRecord NewRecord(const char* method) const;
  // Gives the record its id and trace. An error: the caller may not call.
  absl::Status CheckCaller(const grpc::CallbackServerContext& context, CallRecord* record) const;
  grpc::ServerUnaryReactor* FinishUnary(grpc::CallbackServerContext* context,
                                        const CallRecord& record, const absl::Status& status);

  const Backend backend_;
  TableCache tables_;
  const RequestValidator validator_;
  std::atomic<bool> draining_{false};
  std::atomic<int> calls_in_flight_{0};
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_DIFFUSION_SERVICE_H_
