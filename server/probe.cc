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

}  // namespace

int Probe(const std::string& listen) {
  constexpr absl::Duration kTimeout = absl::Seconds(3);
  const std::string address = LocalAddress(listen);
  ClientOptions options;
  options.connect_timeout = kTimeout;
  absl::StatusOr<Client> client = Client::Connect(address, options);
  absl::StatusOr<bool> healthy = false;
  if (client.ok()) {
    CallOptions call;
    call.timeout = kTimeout;
    healthy = client->Healthy("", call);
  } else {
    healthy = client.status();
  }
  if (healthy.ok() && *healthy) {
    std::cout << "denoised: " << address << " is SERVING\n";
    return 0;
  }
  std::cout << "denoised: " << address << " is not serving"
            << (healthy.ok() ? "" : absl::StrCat(": ", healthy.status().message())) << "\n";
  return 1;
}

}  // namespace denoise
