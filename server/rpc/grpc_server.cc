#include "server/rpc/grpc_server.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "grpc/grpc.h"
#include "grpc/support/log.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/rpc/access/authentication.h"
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
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    gpr_set_log_function(&Log);
    return true;
  }();
  (void)done;
}

void SetLimits(const GrpcServer::Options& options, grpc::ServerBuilder* builder) {
  const auto max_message = static_cast<int>(
      std::min<uint64_t>(options.max_message_bytes, std::numeric_limits<int>::max()));
  builder->SetMaxReceiveMessageSize(max_message);
  builder->SetMaxSendMessageSize(max_message);
  // Identity only: a small message that unpacks to a huge one is refused before it does.
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder->SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
  // Of all connections' buffers. Reflection is the only service with threads of its own.
  grpc::ResourceQuota quota("denoised");
  quota.Resize(std::max<size_t>(size_t{512} << 20, options.max_message_bytes * 8));
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
  grpc::ServerBuilder builder;
  const auto credentials = MakeServerCredentials(options.tls);
  if (options.tokens != nullptr) {
    if (!options.tls.enabled()) {
      return absl::InvalidArgumentError(
          "tokens would be sent in the clear: give --tls-cert and --tls-key with --token-file");
    }
    credentials->SetAuthMetadataProcessor(MakeAuthenticator(options.tokens));
  }
  auto connections = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  for (grpc::Service* service : services) builder.RegisterService(service);
  SetLimits(options, &builder);
  SetConnectionLimits(options.connections, &builder);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return absl::InternalError("gRPC could not be started");
  server->GetHealthCheckService()->SetServingStatus("", false);
  auto acceptor = AcceptConnections(*std::move(listener), options.connections,
                                    options.tls.enabled(), std::move(connections));
  if (!acceptor.ok()) return acceptor.status();
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(server), *std::move(acceptor)));
}

GrpcServer::GrpcServer(std::unique_ptr<grpc::Server> server, std::unique_ptr<Acceptor> acceptor)
    : server_(std::move(server)),
      port_(acceptor->port()),
      connections_(acceptor->counts()),
      acceptor_(std::move(acceptor)) {}

GrpcServer::~GrpcServer() { Shutdown(std::chrono::system_clock::now()); }

void GrpcServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus("", serving);
}

void GrpcServer::SetModelServing(const std::string& model, bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(model, serving);
}

void GrpcServer::Shutdown(std::chrono::system_clock::time_point deadline) {
  {
    MutexLock lock(mutex_);
    acceptor_.reset();  // gRPC would not close what it is given from now on
  }
  server_->GetHealthCheckService()->Shutdown();
  server_->Shutdown(deadline);
}

}  // namespace denoise
