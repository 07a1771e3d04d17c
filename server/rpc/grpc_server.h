// The gRPC server: ports, limits, health, reflection.
#ifndef DENOISE_SERVER_RPC_GRPC_SERVER_H_
#define DENOISE_SERVER_RPC_GRPC_SERVER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/server.h"
#include "net/acceptor.h"
#include "server/engine/mutex.h"
#include "server/rpc/access/authentication.h"
#include "server/rpc/access/tls.h"
#include "server/rpc/connection_options.h"
#include "server/rpc/health_service.h"
#include "server/rpc/reception.h"

namespace denoise {

// Public functions are thread-safe, but for the destructor.
class GrpcServer {
 public:
  struct Options {
    std::string address = "127.0.0.1:8500";  // HOST:PORT; port 0: any
    uint64_t max_message_bytes = 64 << 20;   // of answers; of requests see Reception
    ConnectionOptions connections;
    Reception* reception = nullptr;  // for health
    CertificateFiles tls;            // that CheckCertificateFiles() has passed
    // Of callers, who need credentials; outlives the server. Null: everybody may call. Needs TLS.
    const Authenticator* authenticator = nullptr;
    // Of calls that are refused before they reach a service, as MakeMetadataProcessor() says.
    std::function<void(const absl::Status&)> on_refused;
  };

  // Binds and serves `services`, which outlive the server; health says NOT_SERVING. UNAVAILABLE,
  // naming the address, where it cannot be bound; INVALID_ARGUMENT where it is none, and for tokens
  // without TLS.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const Options& options, const std::vector<grpc::Service*>& services);

  // Shutdown(now).
  ~GrpcServer();

  int port() const { return port_; }
  std::shared_ptr<const ConnectionCounts> connections() const { return connections_; }

  // What grpc.health.v1 says of "" (the server), and of one model.
  void SetServing(bool serving);
  void SetModelServing(const std::string& model, bool serving);

  // Health says NOT_SERVING for good, new calls are refused, running ones are cancelled at
  // `deadline`; returns when all are over. A second call does nothing.
  void Shutdown(std::chrono::system_clock::time_point deadline);

 private:
  explicit GrpcServer(Reception* reception) : health_(reception) {}

  HealthService health_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::shared_ptr<const ConnectionCounts> connections_;
  Mutex mutex_;
  std::unique_ptr<Acceptor> acceptor_ ABSL_GUARDED_BY(mutex_);  // until Shutdown()
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_GRPC_SERVER_H_
