#include "net/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

struct HostPort {
  std::string host;
  int port = 0;
};

absl::StatusOr<HostPort> Split(const std::string& address) {
  HostPort split;
  const size_t colon = address.rfind(':');
  if (colon != std::string::npos) {
    split.host = address.substr(0, colon);
    const bool bracketed =
        split.host.size() > 2 && split.host.front() == '[' && split.host.back() == ']';
    if (bracketed) split.host = split.host.substr(1, split.host.size() - 2);
    if (!split.host.empty() && split.host.front() != '[' &&
        bracketed == absl::StrContains(split.host, ":") &&
        absl::SimpleAtoi(address.substr(colon + 1), &split.port) && split.port >= 0 &&
        split.port <= 65535) {
      return split;
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the address '", address, "' is not HOST:PORT with a port from 0 (any) to 65535"));
}

bool IsWildcard(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// Null where the name is not known.
Addresses Resolve(const std::string& host) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) found = nullptr;
  return {found, &freeaddrinfo};
}

void SetPort(int port, sockaddr_storage* address) {
  const auto number = htons(static_cast<uint16_t>(port));
  if (address->ss_family == AF_INET) reinterpret_cast<sockaddr_in*>(address)->sin_port = number;
  if (address->ss_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(address)->sin6_port = number;
}

int PortOf(const UniqueFd& socket) {
  sockaddr_storage bound = {};
  socklen_t size = sizeof bound;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) return 0;
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

// A socket that listens on one address; none, with errno, where that is not possible.
UniqueFd ListenOn(const addrinfo& at, int port, bool both_families) {
  UniqueFd made(socket(at.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!made.valid()) return made;
  const int yes = 1, only_v6 = both_families ? 0 : 1;
  // A server that starts anew need not wait until the connections of the last one are forgotten.
  setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  setsockopt(made.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);  // what it accepts inherits
  if (at.ai_family == AF_INET6) {
    setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6);
  }
  sockaddr_storage address = {};
  std::memcpy(&address, at.ai_addr, at.ai_addrlen);
  SetPort(port, &address);
  if (bind(made.get(), reinterpret_cast<sockaddr*>(&address), at.ai_addrlen) != 0 ||
      listen(made.get(), SOMAXCONN) != 0) {
    const int error = errno;
    made.Reset();
    errno = error;
  }
  return made;
}

// Such as ::1 of localhost where IPv6 is switched off.
bool NotOfThisMachine(int error) { return error == EADDRNOTAVAIL || error == EAFNOSUPPORT; }

}  // namespace

absl::StatusOr<Listener> Listener::Open(const std::string& address) {
  const absl::StatusOr<HostPort> split = Split(address);
  if (!split.ok()) return split.status();
  const auto cannot = [&address](const char* why) {
    return absl::UnavailableError(absl::StrCat("cannot listen on '", address, "': ", why));
  };
  const bool wildcard = IsWildcard(split->host);
  Listener listener;
  listener.port_ = split->port;
  int error = EADDRNOTAVAIL;
  // One socket serves both families where there is IPv6.
  for (const std::string& host :
       wildcard ? std::vector<std::string>{"::", "0.0.0.0"} : std::vector{split->host}) {
    const Addresses found = Resolve(host);
    for (const addrinfo* at = found.get(); at != nullptr; at = at->ai_next) {
      UniqueFd socket = ListenOn(*at, listener.port_, wildcard);
      if (socket.valid()) {
        listener.port_ = PortOf(socket);
        listener.sockets_.push_back(std::move(socket));
      } else {
        error = errno;
        if (!NotOfThisMachine(error)) return cannot(std::strerror(error));
      }
    }
    if (wildcard && !listener.sockets_.empty()) break;
  }
  if (listener.sockets_.empty()) {
    return cannot(NotOfThisMachine(error) ? "no such address is this machine's"
                                          : std::strerror(error));
  }
  return listener;
}

}  // namespace denoise
