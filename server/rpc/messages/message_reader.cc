#include "server/rpc/messages/message_reader.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/byte_buffer.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

// Messages that take no more are parsed at once, and in no account: there are as many as threads.
constexpr uint64_t kSmall = 64 << 10;
// What a message that is nothing but a tensor takes besides its bytes is far less.
constexpr uint64_t kOverhead = 1 << 20;

}  // namespace

MessageReader::MessageReader(uint64_t max_message_bytes, MemoryBudget* memory)
    : max_message_bytes_(max_message_bytes),
      limits_{.max_bytes = max_message_bytes + kOverhead},
      memory_(memory) {}

absl::StatusOr<uint64_t> MessageReader::Check(const grpc::ByteBuffer& bytes,
                                              const google::protobuf::Message& prototype) const {
  const uint64_t size = bytes.Length();
  if (size > max_message_bytes_) {
    return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                          "message: its ", size, " bytes are more than the ", max_message_bytes_,
                          " of a message (--max-message-bytes); send less at once")),
                      kMessageTooLarge);
  }
  std::vector<grpc::Slice> slices;
  if (!bytes.Dump(&slices).ok()) {
    return WithReason(FieldError("message", "cannot be read"), kMessageRefused);
  }
  SliceStream stream(&slices, SliceStream::Use::kLook);
  const auto memory_bytes = CheckWire(*prototype.GetDescriptor(), &stream, size, limits_);
  if (!memory_bytes.ok()) return WithReason(memory_bytes.status(), kMessageRefused);
  return memory_bytes;
}

void MessageReader::Read(grpc::ByteBuffer* bytes, const google::protobuf::Message& prototype,
                         Then then) {
  const absl::StatusOr<uint64_t> memory_bytes = Check(*bytes, prototype);
  if (!memory_bytes.ok()) {
    bytes->Clear();
    then(memory_bytes.status());
    return;
  }
  Job job{*memory_bytes, bytes, &prototype, std::move(then)};
  if (job.memory_bytes <= kSmall) {
    Run(job);
    return;
  }
  {
    MutexLock lock(mutex_);
    if (!waiting_.empty() || !HasRoom(job.memory_bytes)) {
      waiting_bytes_ += bytes->Length();
      waiting_.push_back(std::move(job));
      return;
    }
    in_use_ += job.memory_bytes;
  }
  RunAndPassOn(std::move(job));
}

uint64_t MessageReader::held_bytes() const {
  MutexLock lock(mutex_);
  return in_use_ + waiting_bytes_;
}

void MessageReader::RunAndPassOn(Job job) {
  while (true) {
    if (auto reserved = memory_->Reserve(MemoryBudget::kMessages, job.memory_bytes);
        reserved.ok()) {
      Run(job);
    } else {
      job.bytes->Clear();
      job.then(WithReason(reserved.status(), kMemoryFull));
    }
    MutexLock lock(mutex_);
    in_use_ -= job.memory_bytes;
    if (waiting_.empty() || !HasRoom(waiting_.front().memory_bytes)) return;
    job = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= job.bytes->Length();
    in_use_ += job.memory_bytes;
  }
}

void MessageReader::Run(const Job& job) {
  const std::unique_ptr<google::protobuf::Message> message(job.prototype->New());
  std::vector<grpc::Slice> slices;
  bool parsed = job.bytes->Dump(&slices).ok();
  job.bytes->Clear();
  SliceStream stream(&slices, SliceStream::Use::kConsume);
  parsed = parsed && message->ParseFromZeroCopyStream(&stream);
  slices.clear();
  if (parsed) {
    job.then(message.get());
    return;
  }
  job.then(WithReason(
      FieldError("message", absl::StrCat("its bytes are no ", message->GetDescriptor()->full_name(),
                                         "; are its strings UTF-8, and are both sides of the same "
                                         "API?")),
      kMessageRefused));
}

}  // namespace denoise
