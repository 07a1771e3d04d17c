// Bounds what messages take while they are being received.
#ifndef DENOISE_SERVER_RPC_ACCESS_RECEIVE_LIMIT_H_
#define DENOISE_SERVER_RPC_ACCESS_RECEIVE_LIMIT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "server/engine/clock.h"
#include "server/engine/mutex.h"

namespace denoise {

// Once a read is started, gRPC takes in as much as its peer cares to send, and tells nobody before
// the message is whole; its own quota ends calls of anybody. This looks, every few milliseconds, at
// what came on the connections of reads that take longer than that, and where it is too much in
// all, cuts off the reads of the connection that has sent the most. Thread-safe.
class ReceiveLimit {
 public:
  struct Options {
    uint64_t max_bytes = 64 << 20;  // and a sixteenth, and a MiB, for what frames them
    // Bytes that have come from a peer, for any thread; nullopt: not known, or not before the next
    // refresh() of who there is, which is expensive.
    std::function<std::optional<uint64_t>(const std::string& peer)> received;
    std::function<void()> refresh;
    // Bytes of messages that were received and are not requests yet; may be null.
    std::function<uint64_t()> held;
    const Clock* clock = nullptr;
    bool looks_by_itself = true;  // from a thread of its own
  };
  explicit ReceiveLimit(Options options);
  ~ReceiveLimit();

  using ReadId = uint64_t;
  // Why a read is cut off: RESOURCE_EXHAUSTED, MEMORY_FULL.
  using CutOff = std::function<void(absl::Status)>;

  // A read of a call from `peer` has begun. `cut_off` is called at most once, and not after End().
  ReadId Begin(std::string peer, CutOff cut_off);
  // The read is over, with a message of so many bytes. False: it was cut off, and is not the
  // caller's any more.
  bool End(ReadId read, uint64_t bytes);

  // One look. For tests: else the thread does it.
  void Look();

 private:
  struct Read {
    std::string peer;
    CutOff cut_off;
    SteadyTime begin;
    // Since when its connection's bytes are counted for it, what had come then, and how much of
    // that was messages that were over.
    SteadyTime since;
    uint64_t received = 0;
    uint64_t delivered = 0;
  };
  // A connection, from its first read on.
  struct Peer {
    bool known = false;  // to received()
    uint32_t reads = 0;
    uint64_t delivered = 0;  // bytes of messages that are over
  };
  using Bytes = absl::flat_hash_map<std::string, uint64_t>;  // by peer

  void MeetPeers(SteadyTime now);
  std::vector<std::string> SlowPeers(SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Bytes PendingBytes(const Bytes& received, SteadyTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(const std::string& peer, SteadyTime now, std::vector<CutOff>* taken)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Loop();

  const Options options_;
  const uint64_t limit_;

  Mutex mutex_;
  CondVar condition_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;  // the next look is to come soon
  ReadId last_read_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<ReadId, Read> reads_ ABSL_GUARDED_BY(mutex_);  // the oldest first
  absl::flat_hash_map<std::string, Peer> peers_ ABSL_GUARDED_BY(mutex_);
  bool strangers_ ABSL_GUARDED_BY(mutex_) = false;  // there are peers that are not known
  SteadyTime met_ ABSL_GUARDED_BY(mutex_);          // when peers were met the last time

  std::thread thread_;  // last
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_RECEIVE_LIMIT_H_
