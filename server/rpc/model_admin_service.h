// The gRPC service that loads and unloads models.
#ifndef DENOISE_SERVER_RPC_MODEL_ADMIN_SERVICE_H_
#define DENOISE_SERVER_RPC_MODEL_ADMIN_SERVICE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/engine/clock.h"
#include "server/rpc/catalog.h"
#include "server/rpc/raw_service.h"
#include "server/rpc/reception.h"

namespace denoise {

// Who really loads and unloads. Thread-safe; functions return at once, and `done` is called from
// any thread, exactly once.
class ModelLifecycle {
 public:
  using Done = std::function<void(absl::StatusOr<CatalogEntry>)>;
  virtual ~ModelLifecycle() = default;

  virtual void Load(const std::string& name, int64_t version, Done done) = 0;
  virtual void Unload(const std::string& name, int64_t version, Done done) = 0;
  virtual void Reload(const std::string& name, int64_t version, Done done) = 0;
};

// The log has a line for every operation, "admin": who asked for what from where, and how it ended,
// also where it was refused, or its caller had gone by then.
//
// Thread-safe. Outlives the gRPC server that it is registered with; what it is given outlives it.
class ModelAdminService final : public RawService {
 public:
  struct Options {
    ModelLifecycle* models = nullptr;
    Reception* reception = nullptr;  // whose scope is admin
    const Clock* clock = nullptr;
    // Operations that have not ended; more are RESOURCE_EXHAUSTED (QUEUE_FULL).
    int max_operations = 16;
  };
  explicit ModelAdminService(const Options& options);

  // Operations that have not ended.
  int operations() const { return operations_->load(std::memory_order_relaxed); }

 private:
  // Shared with the operations, which may outlive the service.
  const std::shared_ptr<std::atomic<int>> operations_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MODEL_ADMIN_SERVICE_H_
