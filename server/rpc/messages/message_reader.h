// From bytes to a message, with nothing made of them before it is known what that takes.
#ifndef DENOISE_SERVER_RPC_MESSAGES_MESSAGE_READER_H_
#define DENOISE_SERVER_RPC_MESSAGES_MESSAGE_READER_H_

#include <cstdint>
#include <deque>
#include <functional>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/engine/memory_budget.h"
#include "server/engine/mutex.h"
#include "server/rpc/messages/wire_check.h"

namespace denoise {

// Thread-safe. Messages that are parsed at the same time take no more memory together than one may
// by itself; others wait for them, as bytes, and small ones for nobody.
class MessageReader {
 public:
  // `memory` outlives it.
  MessageReader(uint64_t max_message_bytes, MemoryBudget* memory);

  // The message is there until Then returns.
  using Then = std::function<void(absl::StatusOr<const google::protobuf::Message*>)>;

  // Checks `bytes`, parses them as a message of the type of `prototype`, and calls `then` with it:
  // before this returns, or where it has to wait, on the thread of whoever makes room. `bytes` are
  // let go of meanwhile; they stay where they are until `then` is called. Errors:
  // RESOURCE_EXHAUSTED, MESSAGE_TOO_LARGE or MEMORY_FULL; a FieldError, MESSAGE_REFUSED, for what
  // is no such message, or would take too much memory as one.
  void Read(grpc::ByteBuffer* bytes, const google::protobuf::Message& prototype, Then then);

  // Bytes of messages that wait, and memory of those that are being parsed.
  uint64_t held_bytes() const;

 private:
  struct Job {
    uint64_t memory_bytes;
    grpc::ByteBuffer* bytes;
    const google::protobuf::Message* prototype;
    Then then;
  };
  bool HasRoom(uint64_t memory_bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return in_use_ == 0 || in_use_ + memory_bytes <= limits_.max_bytes;
  }
  absl::StatusOr<uint64_t> Check(const grpc::ByteBuffer& bytes,
                                 const google::protobuf::Message& prototype) const;
  void RunAndPassOn(Job job);
  void Run(const Job& job);

  const uint64_t max_message_bytes_;
  const WireLimits limits_;
  MemoryBudget* const memory_;

  mutable Mutex mutex_;
  uint64_t in_use_ ABSL_GUARDED_BY(mutex_) = 0;  // memory_bytes of jobs that run
  std::deque<Job> waiting_ ABSL_GUARDED_BY(mutex_);
  uint64_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_MESSAGE_READER_H_
