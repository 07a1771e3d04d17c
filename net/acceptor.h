// Accepts the connections of a port and keeps them within limits.
#ifndef DENOISE_NET_ACCEPTOR_H_
#define DENOISE_NET_ACCEPTOR_H_

#include <sys/types.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "net/connection_table.h"
#include "net/listener.h"
#include "net/opening.h"
#include "net/unique_fd.h"

namespace denoise {

// Of one port, for metrics. Thread-safe.
struct ConnectionCounts {
  std::atomic<uint64_t> open{0};  // one that was closed may count for a second more
  std::atomic<uint64_t> max{0};
  std::array<std::atomic<uint64_t>, kRefusals> refused{};  // by Refusal
};

// A connection is handed on when it has said what it is; until then it holds a descriptor, and
// neither a thread nor memory of the process. What has been handed on counts until whoever took it
// has closed it, which is found out by looking (docs/decisions/0012-connections-are-ours.md).
class Acceptor {
 public:
  struct Options {
    ConnectionLimits limits;
    // Time for the opening, from the connection's acceptance.
    std::chrono::nanoseconds opening_timeout = std::chrono::seconds(10);
    // What the port speaks.
    std::function<Opening(absl::string_view bytes)> opening;
    // Takes a connection (non-blocking, with its opening unread) and some time closes it. Both of
    // these are called on the acceptor's thread, and do not wait.
    std::function<void(UniqueFd connection)> serve;
    // Tells of one that was refused; `peer` is its address. May be empty.
    std::function<void(Refusal reason, const std::string& peer)> refused;
  };

  // Begins at once. INTERNAL where the process has no descriptors left for it.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Start(Listener listener, Options options);
  // Accepts nothing more and closes what was not handed on.
  ~Acceptor();

  int port() const { return listener_.port(); }
  // Outlives the acceptor where it is kept.
  std::shared_ptr<const ConnectionCounts> counts() const { return counts_; }

 private:
  using Id = ConnectionTable::Id;
  using Time = ConnectionTable::Time;
  // The same for as long as a socket is open, and of no other socket meanwhile.
  struct Socket {
    int fd;
    dev_t device;
    ino_t inode;
  };
  struct Silent {
    UniqueFd fd;
    std::string peer;
  };

  Acceptor(Listener listener, Options options);
  void Run();
  int WaitMilliseconds(Time now) const;
  void Accept(int listening);
  void Admit(UniqueFd fd, const sockaddr_storage& peer);
  void MakeRoomForDescriptors(int listening);
  void Look(Id id, bool ended);
  void Refuse(Id id, Refusal reason);
  void Forget(Id id);
  void CloseOverdue(Time now);
  // Forgets those that were closed by who took them.
  void Sweep(Time now);
  void Count(Refusal reason, const std::string& peer);

  Listener listener_;
  const Options options_;
  const std::shared_ptr<ConnectionCounts> counts_ = std::make_shared<ConnectionCounts>();
  UniqueFd epoll_, stop_, spare_;

  // The thread's own from here on.
  ConnectionTable table_;
  std::map<Id, Silent> silent_;
  std::map<Id, Socket> served_;
  Time swept_{};       // when the last sweep was...
  Time next_sweep_{};  // ...and the next may be, though a connection be refused
  std::vector<char> peeked_;

  std::thread thread_;
};

}  // namespace denoise

#endif  // DENOISE_NET_ACCEPTOR_H_
