#include "server/rpc/connections.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "grpc/grpc.h"
#include "spdlog/spdlog.h"

namespace denoise {
namespace {

// Of what gRPC takes as milliseconds; 0 is never.
int Milliseconds(double seconds) {
  constexpr double kNever = std::numeric_limits<int>::max();
  return static_cast<int>(seconds == 0 ? kNever : std::clamp(seconds * 1e3, 1.0, kNever));
}

// A line a minute at most: who floods the port is not to flood the log.
class RefusalLog {
 public:
  void operator()(Refusal reason, const std::string& peer) {
    if (reason == Refusal::kSilent || reason == Refusal::kWrongProtocol) {
      return spdlog::debug("{} was refused: {}", peer, std::string(RefusalName(reason)));
    }
    ++count_;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    spdlog::warn("{} connections were refused, the last of {}: {}", count_, peer,
                 std::string(RefusalName(reason)));
    count_ = 0;
    next_ = now + std::chrono::minutes(1);
  }

 private:
  uint64_t count_ = 0;
  std::chrono::steady_clock::time_point next_;
};

// By gRPC's own measure for what it accepts itself: a peer that acknowledges nothing for so long is
// gone. What the sockets accept inherits it.
void SetUserTimeout(const Listener& listener, const ConnectionOptions& options) {
  const auto milliseconds = static_cast<unsigned>(Milliseconds(options.keepalive_timeout));
  for (const UniqueFd& socket : listener.sockets()) {
    setsockopt(socket.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
  }
}

}  // namespace

void SetConnectionLimits(const ConnectionOptions& options, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, static_cast<int>(options.max_calls));
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                              Milliseconds(options.handshake_timeout));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(options.max_idle));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(options.max_age));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                              Milliseconds(options.max_age_grace));
  // A peer that is gone without closing its connection is detected, with or without a call.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                              Milliseconds(options.keepalive_timeout));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              Milliseconds(options.min_ping_interval));
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 3);
}

absl::StatusOr<std::unique_ptr<Acceptor>> AcceptConnections(
    Listener listener, const ConnectionOptions& options, bool tls,
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> server) {
  SetUserTimeout(listener, options);
  Acceptor::Options made;
  made.limits = {.max_connections = options.max_connections,
                 .max_per_address = options.max_per_address};
  made.opening_timeout = std::chrono::milliseconds(Milliseconds(options.handshake_timeout));
  made.opening = tls ? &TlsOpening : &Http2Opening;
  made.serve = [server = std::shared_ptr(std::move(server))](UniqueFd connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = connection.Release();
    server->HandleNewConnection(&parameters);
  };
  made.refused = RefusalLog();
  return Acceptor::Start(std::move(listener), std::move(made));
}

}  // namespace denoise
