#include "server/probe.h"

#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "denoise/client.h"

namespace denoise {
namespace {

// Where a server that listens on `listen` is reached from its own machine.
std::string LocalAddress(absl::string_view listen) {
  if (absl::ConsumePrefix(&listen, "0.0.0.0:")) return absl::StrCat("127.0.0.1:", listen);
  if (absl::ConsumePrefix(&listen, "[::]:")) return absl::StrCat("[::1]:", listen);
  return std::string(listen);
}

absl::StatusOr<TlsOptions> CredentialsOf(const CertificateFiles& tls) {
  auto name = NameInCertificate(tls.certificate);
  if (!name.ok()) return name.status();
  const bool mutual = !tls.client_ca.empty();
  auto options = ReadTls({.ca = tls.certificate,
                          .certificate = mutual ? tls.certificate : "",
                          .key = mutual ? tls.key : ""});
  if (options.ok()) options->server_name = *std::move(name);
  return options;
}

// Whether the server at `address` is SERVING.
absl::StatusOr<bool> Healthy(const std::string& address, const CertificateFiles& tls) {
  constexpr absl::Duration kTimeout = absl::Seconds(3);
  ClientOptions options;
  options.connect_timeout = kTimeout;
  options.default_timeout = kTimeout;
  if (tls.enabled()) {
    auto credentials = CredentialsOf(tls);
    if (!credentials.ok()) return credentials.status();
    options.tls = *std::move(credentials);
  }
  auto client = Client::Connect(address, options);
  if (!client.ok()) return client.status();
  return client->Healthy();
}

}  // namespace

int Probe(const std::string& listen, const CertificateFiles& tls) {
  const std::string address = LocalAddress(listen);
  const absl::StatusOr<bool> healthy = Healthy(address, tls);
  if (healthy.ok() && *healthy) {
    std::cout << "denoised: " << address << " is SERVING\n";
    return 0;
  }
  std::cout << "denoised: " << address << " is not serving"
            << (healthy.ok() ? "" : absl::StrCat(": ", healthy.status().message())) << "\n";
  return 1;
}

}  // namespace denoise
