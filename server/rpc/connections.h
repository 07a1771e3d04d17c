// gRPC's connections, which we accept ourselves: its own listener has no limits, and hears nothing
// any more once the process has run out of descriptors (CVE-2023-4785).
#ifndef DENOISE_SERVER_RPC_CONNECTIONS_H_
#define DENOISE_SERVER_RPC_CONNECTIONS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/server_builder.h"
#include "net/acceptor.h"
#include "net/listener.h"
#include "server/rpc/connection_options.h"

namespace denoise {

// What gRPC itself sees to: calls, age, idleness, pings, handshakes.
void SetConnectionLimits(const ConnectionOptions& options, grpc::ServerBuilder* builder);

// Hands `server`, which has been started, connections of HTTP/2 or of TLS until it is destroyed,
// which comes before the server's shutdown. The errors are those of Acceptor::Start().
absl::StatusOr<std::unique_ptr<Acceptor>> AcceptConnections(
    Listener listener, const ConnectionOptions& options, bool tls,
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> server);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_CONNECTIONS_H_
