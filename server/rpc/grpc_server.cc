#include "server/rpc/grpc_server.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/grpc.h"
#include "grpc/support/log.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/rpc/access/authentication.h"
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

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
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
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                              static_cast<int>(options.max_concurrent_streams));
  // A peer that is gone without closing its connection is detected, with or without a call; one
  // that pings too often is disconnected.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive_time));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                              Milliseconds(options.keepalive_timeout));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 3);
  // Peers that connect and do not complete the handshake.
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10'000);
  // Else a second server on the same port would be silently given half of its connections.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);

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
  auto made = std::unique_ptr<GrpcServer>(new GrpcServer(options.reception));
  grpc::ServerBuilder builder;
  const auto credentials = MakeServerCredentials(options.tls);
  if (options.tokens != nullptr) {
    if (!options.tls.enabled()) {
      return absl::InvalidArgumentError(
          "tokens would be sent in the clear: give --tls-cert and --tls-key with --token-file");
    }
    credentials->SetAuthMetadataProcessor(MakeAuthenticator(options.tokens, options.on_refused));
  }
  builder.AddListeningPort(options.address, credentials, &made->port_);
  builder.RegisterService(&made->health_);
  for (grpc::Service* service : services) builder.RegisterService(service);
  SetLimits(options, &builder);
  made->server_ = builder.BuildAndStart();
  if (made->server_ == nullptr || made->port_ <= 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", Quote(options.address),
                     ": the port is in use, or this is no HOST:PORT of this machine"));
  }
  made->SetServing(false);
  return made;
}

GrpcServer::~GrpcServer() { Shutdown(std::chrono::system_clock::now()); }

void GrpcServer::SetServing(bool serving) { health_.Set("", serving); }

void GrpcServer::SetModelServing(const std::string& model, bool serving) {
  health_.Set(model, serving);
}

void GrpcServer::Shutdown(std::chrono::system_clock::time_point deadline) {
  health_.Shutdown();
  if (server_ != nullptr) server_->Shutdown(deadline);
}

}  // namespace denoise
