#include "server/rpc/grpc_server.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "grpc/grpc.h"
#include "grpc/support/log.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/rpc/connections.h"
#include "server/rpc/messages/text.h"
#include "spdlog/spdlog.h"

namespace denoise {
namespace {

// What gRPC itself has to say is about peers and their mistakes, or said again by us: for those who
// ask for it.
void Log(gpr_log_func_args* args) { spdlog::debug("grpc: {}", OneLine(args->message, 512)); }

// Before the first server: gRPC's plugins and its log are the process's.
void InitOnce() {
  static const bool done = [] {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    gpr_set_log_function(&Log);
    return true;
  }();
  (void)done;
}

int ToInt(uint64_t bytes) {
  return static_cast<int>(std::min<uint64_t>(bytes, std::numeric_limits<int>::max()));
}

void SetLimits(const GrpcServer::Options& options, grpc::ServerBuilder* builder) {
  builder->SetMaxSendMessageSize(ToInt(options.max_message_bytes));
  // gRPC looks at a message's size when it has all of it, as Reception does, whose refusals have
  // details and are counted.
  const uint64_t quota_bytes =
      std::max<uint64_t>(uint64_t{512} << 20, options.max_message_bytes * 8);
  builder->SetMaxReceiveMessageSize(ToInt(quota_bytes));
  // A stream that nobody reads from takes in 64 KiB. With the probe that grows to megabytes.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // Identity only: a small message that unpacks to a huge one is refused before it does.
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder->SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
  // Of all connections' buffers. Past it gRPC ends calls, whoever's they are, so that ReceiveLimit
  // comes long before. Reflection is the only service with threads of its own.
  grpc::ResourceQuota quota("denoised");
  quota.Resize(quota_bytes);
  quota.SetMaxThreads(16);
  builder->SetResourceQuota(quota);
  builder->SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder->SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const Options& options, const std::vector<grpc::Service*>& services) {
  InitOnce();
  auto listener = Listener::Open(options.address);
  if (!listener.ok()) return listener.status();
  auto made = std::unique_ptr<GrpcServer>(new GrpcServer(options.reception));
  grpc::ServerBuilder builder;
  const auto credentials = MakeServerCredentials(options.tls);
  if (options.authenticator != nullptr) {
    if (!options.tls.enabled()) {
      return absl::InvalidArgumentError(
          "tokens would be sent in the clear: give --tls-cert and --tls-key with --token-file");
    }
    credentials->SetAuthMetadataProcessor(
        MakeMetadataProcessor(options.authenticator, options.on_refused));
  }
  auto connections = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  builder.RegisterService(&made->health_);
  for (grpc::Service* service : services) builder.RegisterService(service);
  SetLimits(options, &builder);
  SetConnectionLimits(options.connections, &builder);
  made->server_ = builder.BuildAndStart();
  if (made->server_ == nullptr) return absl::InternalError("gRPC could not be started");
  made->SetServing(false);
  auto acceptor = AcceptConnections(*std::move(listener), options.connections,
                                    options.tls.enabled(), std::move(connections));
  if (!acceptor.ok()) return acceptor.status();
  made->port_ = (*acceptor)->port();
  made->connections_ = (*acceptor)->counts();
  MutexLock lock(made->mutex_);
  made->acceptor_ = *std::move(acceptor);
  return made;
}

GrpcServer::~GrpcServer() { Shutdown(std::chrono::system_clock::now()); }

void GrpcServer::SetServing(bool serving) { health_.Set("", serving); }

void GrpcServer::SetModelServing(const std::string& model, bool serving) {
  health_.Set(model, serving);
}

void GrpcServer::Shutdown(std::chrono::system_clock::time_point deadline) {
  {
    MutexLock lock(mutex_);
    acceptor_.reset();  // gRPC would not close what it is given from now on
  }
  health_.Shutdown();
  if (server_ != nullptr) server_->Shutdown(deadline);
}

}  // namespace denoise
