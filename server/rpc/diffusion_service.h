// The gRPC service of the API.
#ifndef DENOISE_SERVER_RPC_DIFFUSION_SERVICE_H_
#define DENOISE_SERVER_RPC_DIFFUSION_SERVICE_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_record.h"
#include "server/rpc/messages/request_validator.h"
#include "server/rpc/messages/table_cache.h"
#include "server/rpc/raw_service.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server that it is registered with.
class DiffusionService final : public RawService {
 public:
  explicit DiffusionService(Backend backend);

  // From now on new calls of Sample, Diffuse and Evaluate are UNAVAILABLE (DRAINING, with
  // RetryInfo); running ones go on.
  void Drain() { draining_.store(true, std::memory_order_relaxed); }

  // Of those calls, the ones whose message was read and that are not over.
  int calls_in_flight() const { return calls_in_flight_.load(std::memory_order_relaxed); }

 private:
  template <typename Message, typename Event>
  void ServeStream(const char* method);
  template <typename Message>
  absl::StatusOr<Validated> Validate(const Message& message, CallRecord* record) const;
  absl::Status GetModel(const v1::GetModelRequest& message, v1::Model* response,
                        CallRecord* record) const;

  const Backend backend_;
  TableCache tables_;
  const RequestValidator validator_;
  std::atomic<bool> draining_{false};
  std::atomic<int> calls_in_flight_{0};
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_DIFFUSION_SERVICE_H_
