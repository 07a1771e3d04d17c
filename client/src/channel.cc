#include "client/src/channel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/call_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace denoise {
inline namespace client_v1 {
namespace {

// A server that drains says so by its health, and gets no new calls.
constexpr char kRoundRobin[] =
    R"({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}})";

absl::Status CheckAddress(const std::string& address) {
  const auto bad = [&](const char* fix) {
    return absl::InvalidArgumentError(absl::StrCat("address '", address, "' ", fix));
  };
  if (address.empty()) return bad("is empty: write HOST:PORT, such as 127.0.0.1:8500");
  for (const char* scheme : {"dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:"}) {
    if (address.rfind(scheme, 0) == 0) return absl::OkStatus();
  }
  if (address.find(',') != std::string::npos) {
    return bad("holds several: write them as ipv4:HOST:PORT,HOST:PORT or dns:///NAME:PORT");
  }
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 ||
      (address[0] == '[' && address[colon - 1] != ']')) {
    return bad("has no port: write HOST:PORT, such as 127.0.0.1:8500");
  }
  const std::string port = address.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != port.npos ||
      std::stoi(port) < 1 || std::stoi(port) > 65535) {
    return bad("has a bad port: write HOST:PORT with a port of 1 to 65535");
  }
  return absl::OkStatus();
}

absl::Status CheckTls(const ClientOptions& options) {
  if (!options.tls) {
    if (!options.token) return absl::OkStatus();
    return absl::InvalidArgumentError("a token would be sent in the clear: set tls too");
  }
  const TlsOptions& tls = *options.tls;
  if (tls.certificate_pem.empty() != tls.key_pem.empty()) {
    return absl::InvalidArgumentError(
        "tls.certificate_pem and tls.key_pem belong together: give both or neither");
  }
  for (const auto& [name, text] : {std::pair{"tls.ca_pem", &tls.ca_pem},
                                   std::pair{"tls.certificate_pem", &tls.certificate_pem},
                                   std::pair{"tls.key_pem", &tls.key_pem}}) {
    if (!text->empty() && text->find("-----BEGIN ") == text->npos) {
      return absl::InvalidArgumentError(absl::StrCat(name, " is not in PEM form"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRetry(const RetryPolicy& retry) {
  if (retry.max_attempts < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("retry.max_attempts is ", retry.max_attempts, ": it must be 1 or more"));
  }
  if (retry.initial_backoff <= absl::ZeroDuration() || retry.max_backoff < retry.initial_backoff) {
    return absl::InvalidArgumentError(absl::StrCat(
        "retry.initial_backoff is ", absl::FormatDuration(retry.initial_backoff),
        ": it must be above 0 and at most max_backoff, ", absl::FormatDuration(retry.max_backoff)));
  }
  if (!(retry.multiplier >= 1) || std::isinf(retry.multiplier)) {
    return absl::InvalidArgumentError(
        absl::StrCat("retry.multiplier is ", retry.multiplier, ": it must be 1 or more"));
  }
  if (std::count(retry.codes.begin(), retry.codes.end(), absl::StatusCode::kOk) > 0) {
    return absl::InvalidArgumentError("retry.codes holds OK, which is no failure: leave it out");
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const ClientOptions& options) {
  if (options.max_message_bytes < 1 ||
      options.max_message_bytes > std::numeric_limits<int>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("max_message_bytes is ",
                                                   options.max_message_bytes, ": it must be 1 to ",
                                                   std::numeric_limits<int>::max()));
  }
  if (options.connect_timeout < absl::ZeroDuration() ||
      options.default_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("connect_timeout and default_timeout must not be negative");
  }
  if (options.keepalive_time < absl::Seconds(10) ||
      options.keepalive_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        "keepalive_time must be 10 s or more, keepalive_timeout positive");
  }
  if (absl::Status status = CheckTls(options); !status.ok()) return status;
  if (absl::Status status = CheckRetry(options.retry); !status.ok()) return status;
  return CheckMetadata(options.metadata);
}

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(
      std::min<int64_t>(absl::ToInt64Milliseconds(duration), std::numeric_limits<int>::max()));
}

grpc::ChannelArguments ArgumentsOf(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetUserAgentPrefix(absl::StrCat(
      options.user_agent, options.user_agent.empty() ? "" : " ", "denoise-cpp/" DENOISE_VERSION));
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  // Pings only while calls are open: idle clients cost a server nothing. As many as it takes, since
  // a request may wait in the queue for long without a word.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive_time));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(options.keepalive_timeout));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A server that restarts is to be found again within seconds, not minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  if (options.balancing == Balancing::kRoundRobin) {
    arguments.SetServiceConfigJSON(kRoundRobin);
  }
  if (options.tls && !options.tls->server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  }
  return arguments;
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const ClientOptions& options) {
  if (!options.tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.tls->ca_pem;
  ssl.pem_cert_chain = options.tls->certificate_pem;
  ssl.pem_private_key = options.tls->key_pem;
  return grpc::SslCredentials(ssl);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address,
                                                           const ClientOptions& options) {
  if (const auto status = CheckAddress(address); !status.ok()) return status;
  if (const auto status = CheckOptions(options); !status.ok()) return status;
  return grpc::CreateCustomChannel(address, CredentialsOf(options), ArgumentsOf(options));
}

}  // namespace client_v1
}  // namespace denoise
