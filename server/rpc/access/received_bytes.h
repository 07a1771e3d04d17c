// What callers have sent so far, as the kernel counts it.
#ifndef DENOISE_SERVER_RPC_ACCESS_RECEIVED_BYTES_H_
#define DENOISE_SERVER_RPC_ACCESS_RECEIVED_BYTES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "server/engine/mutex.h"

namespace denoise {

// gRPC names a call's peer, but neither its socket nor how much of a message is there before all of
// it is. So the socket is looked for among the process's own. Thread-safe.
class ReceivedBytes {
 public:
  // Bytes that have come on the TCP connection from `peer`, as grpc::ServerContext::peer() names
  // it, and were read from its socket. nullopt: there was no such connection at the last Refresh(),
  // or there is none any more.
  std::optional<uint64_t> From(const std::string& peer) const;

  // Looks at what connections there are.
  void Refresh();

 private:
  mutable Mutex mutex_;
  absl::flat_hash_map<std::string, int> sockets_ ABSL_GUARDED_BY(mutex_);  // by peer
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_RECEIVED_BYTES_H_
