// The gRPC service that loads and unloads models.
#ifndef DENOISE_SERVER_RPC_MODEL_ADMIN_SERVICE_H_
#define DENOISE_SERVER_RPC_MODEL_ADMIN_SERVICE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.pb.h"
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

// Thread-safe. Outlives the gRPC server that it is registered with; what it is given outlives it.
class ModelAdminService final : public RawService {
 public:
  ModelAdminService(ModelLifecycle* models, Reception* reception);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MODEL_ADMIN_SERVICE_H_
