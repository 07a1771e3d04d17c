// Callers that are nothing but a socket.
#ifndef DENOISE_TESTS_UNIT_NET_SOCKETS_H_
#define DENOISE_TESTS_UNIT_NET_SOCKETS_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "absl/strings/string_view.h"
#include "net/unique_fd.h"

namespace denoise {

// Connects to 127.0.0.1 from `from`, an address of the loopback's. Reads give up after 20 s.
inline UniqueFd Connect(int port, const char* from = "127.0.0.1") {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, from, &address.sin_addr);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const timeval patience = {20, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return fd;
}

inline void Send(const UniqueFd& to, absl::string_view bytes) {
  (void)send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);  // who has been cut off, reads it
}

// What comes until the other end closes the connection. "timeout" where it does not.
inline std::string ReadToEnd(const UniqueFd& from) {
  std::string all;
  char buffer[4096];
  while (true) {
    const ssize_t size = recv(from.get(), buffer, sizeof buffer, 0);
    if (size > 0) {
      all.append(buffer, static_cast<size_t>(size));
    } else {
      return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? "timeout" : all;
    }
  }
}

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_NET_SOCKETS_H_
