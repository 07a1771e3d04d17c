#include "server/metrics/scrape_server.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

namespace denoise {
namespace {

// Without the brackets of an IPv6 address.
std::string HostOf(const std::string& address) {
  const std::string host = address.substr(0, address.rfind(':'));
  return host.size() > 2 && host.front() == '[' ? host.substr(1, host.size() - 2) : host;
}

}  // namespace

ScrapeServer::ScrapeServer(const std::string& address,
                           const std::shared_ptr<prometheus::Collectable>& metrics)
    : host_(HostOf(address)),
      // Few threads and short patience: a scraper is one client, and a slow one is cut off.
      exposer_(std::make_unique<prometheus::Exposer>(std::vector<std::string>{
          "listening_ports", address, "num_threads", "2", "request_timeout_ms", "5000"})) {
  exposer_->RegisterCollectable(metrics);
  const std::vector<int> ports = exposer_->GetListeningPorts();
  if (ports.size() == 1) port_ = ports[0];
}

// civetweb sees that it is to stop when its poll of the port ends: after two seconds, or with a
// connection.
ScrapeServer::~ScrapeServer() {
  std::atomic<bool> gone{false};
  std::thread knocking([&] { Knock(gone); });
  exposer_.reset();
  gone = true;
  knocking.join();
}

void ScrapeServer::Knock(const std::atomic<bool>& gone) const {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host_.c_str(), std::to_string(port_).c_str(), &hints, &found) != 0) return;
  while (!gone) {
    const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
      (void)connect(fd, found->ai_addr, found->ai_addrlen);
      close(fd);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  freeaddrinfo(found);
}

}  // namespace denoise
