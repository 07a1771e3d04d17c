// The gRPC service that loads and unloads models.
#ifndef DENOISE_SERVER_RPC_MODEL_ADMIN_SERVICE_H_
#define DENOISE_SERVER_RPC_MODEL_ADMIN_SERVICE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.grpc.pb.h"
#include "server/engine/clock.h"
#include "server/metrics/metrics.h"
#include "server/rpc/call_record.h"
#include "server/rpc/catalog.h"

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
class ModelAdminService final : public v1::ModelAdmin::CallbackService {
 public:
  ModelAdminService(ModelLifecycle* models, Metrics* metrics, const Clock* clock)
      : models_(models), metrics_(metrics), clock_(clock) {}

  grpc::ServerUnaryReactor* LoadModel(grpc::CallbackServerContext* context,
                                      const v1::LoadModelRequest* request,
                                      v1::Model* response) override;
  grpc::ServerUnaryReactor* UnloadModel(grpc::CallbackServerContext* context,
                                        const v1::UnloadModelRequest* request,
                                        v1::UnloadModelResponse* response) override;
  grpc::ServerUnaryReactor* ReloadModel(grpc::CallbackServerContext* context,
                                        const v1::ReloadModelRequest* request,
                                        v1::Model* response) override;

 private:
  using Operation = void (ModelLifecycle::*)(const std::string&, int64_t, ModelLifecycle::Done);

  // `response`: null where the answer says nothing.
  grpc::ServerUnaryReactor* Run(const char* method, Operation operation,
                                grpc::CallbackServerContext* context, const std::string& model,
                                int64_t version, v1::Model* response);

  ModelLifecycle* const models_;
  Metrics* const metrics_;
  const Clock* const clock_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MODEL_ADMIN_SERVICE_H_
