// grpc.health.v1, of the server and of each model.
#ifndef DENOISE_SERVER_RPC_HEALTH_SERVICE_H_
#define DENOISE_SERVER_RPC_HEALTH_SERVICE_H_

#include <map>
#include <set>
#include <string>

#include "grpc/health/v1/health.pb.h"
#include "server/engine/mutex.h"
#include "server/rpc/raw_service.h"
#include "server/rpc/reception.h"

namespace denoise {

// Open to everybody, since probes and balancers have no token, and neither counted nor logged. In
// place of gRPC's own, which takes in whatever it is sent. Thread-safe; outlives the gRPC server
// that it is registered with.
class HealthService final : public RawService {
 public:
  explicit HealthService(Reception* reception);

  // "": the server. A name that was never set is NOT_FOUND to Check, SERVICE_UNKNOWN to Watch.
  void Set(const std::string& name, bool serving);
  // NOT_SERVING for all there are, for good.
  void Shutdown();

 private:
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;
  class CheckCall;
  class WatchCall;

  void Set(const std::string& name, Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Status StatusOf(const std::string& name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, Status> statuses_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::set<WatchCall*>> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_HEALTH_SERVICE_H_
