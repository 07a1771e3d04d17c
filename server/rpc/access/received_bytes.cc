#include "server/rpc/access/received_bytes.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// The peer of a socket, named as gRPC does; empty where it has none.
std::string PeerOf(int socket) {
  sockaddr_in6 address = {};
  socklen_t size = sizeof(address);
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  char text[INET6_ADDRSTRLEN];
  if (address.sin6_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", ntohs(v4.sin_port));
  }
  if (address.sin6_family != AF_INET6) return "";
  if (IN6_IS_ADDR_V4MAPPED(&address.sin6_addr)) {
    inet_ntop(AF_INET, &address.sin6_addr.s6_addr[12], text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", ntohs(address.sin6_port));
  }
  inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof(text));
  return absl::StrCat("ipv6:%5B", text, "%5D:", ntohs(address.sin6_port));
}

}  // namespace

void ReceivedBytes::Refresh() {
  absl::flat_hash_map<std::string, int> sockets;
  DIR* const files = opendir("/proc/self/fd");
  if (files == nullptr) return;
  while (const dirent* file = readdir(files)) {
    int number;
    if (!absl::SimpleAtoi(file->d_name, &number)) continue;
    if (std::string peer = PeerOf(number); !peer.empty()) sockets.emplace(std::move(peer), number);
  }
  closedir(files);
  MutexLock lock(mutex_);
  sockets_.swap(sockets);
}

std::optional<uint64_t> ReceivedBytes::From(const std::string& peer) const {
  int socket;
  {
    MutexLock lock(mutex_);
    const auto it = sockets_.find(peer);
    if (it == sockets_.end()) return std::nullopt;
    socket = it->second;
  }
  if (PeerOf(socket) != peer) return std::nullopt;  // the number has become another file's
  tcp_info info = {};
  socklen_t size = sizeof(info);
  int unread = 0;
  constexpr size_t kNeeded = offsetof(tcp_info, tcpi_bytes_received) + sizeof(uint64_t);
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size < kNeeded ||
      ioctl(socket, SIOCINQ, &unread) != 0) {
    return std::nullopt;
  }
  const auto waiting = static_cast<uint64_t>(unread);
  return info.tcpi_bytes_received > waiting ? info.tcpi_bytes_received - waiting : 0;
}

}  // namespace denoise
