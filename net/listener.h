// The sockets on which a port is listened to.
#ifndef DENOISE_NET_LISTENER_H_
#define DENOISE_NET_LISTENER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "net/unique_fd.h"

namespace denoise {

class Listener {
 public:
  // `address` is HOST:PORT, with an IPv6 host in brackets; port 0: any that is free. A name is
  // listened to on all of its addresses that this machine has, and 0.0.0.0 and [::] alike mean all
  // addresses of both families. INVALID_ARGUMENT where it is no HOST:PORT, UNAVAILABLE where it
  // cannot be bound; both name it. A port is never shared: a second listener on it is refused.
  static absl::StatusOr<Listener> Open(const std::string& address);

  int port() const { return port_; }
  // Non-blocking, one for each address. What they accept sends small packets at once.
  const std::vector<UniqueFd>& sockets() const { return sockets_; }

 private:
  std::vector<UniqueFd> sockets_;
  int port_ = 0;
};

}  // namespace denoise

#endif  // DENOISE_NET_LISTENER_H_
