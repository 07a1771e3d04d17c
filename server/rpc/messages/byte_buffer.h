// Between messages and the bytes that gRPC sends and receives.
#ifndef DENOISE_SERVER_RPC_MESSAGES_BYTE_BUFFER_H_
#define DENOISE_SERVER_RPC_MESSAGES_BYTE_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "google/protobuf/io/zero_copy_stream.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"

namespace denoise {

// Bytes as gRPC received them, in pieces, for Protobuf to read.
class SliceStream final : public google::protobuf::io::ZeroCopyInputStream {
 public:
  enum class Use {
    kLook,     // the slices stay
    kConsume,  // each is let go of when the next is asked for
  };
  // `slices` outlive it.
  SliceStream(std::vector<grpc::Slice>* slices, Use use) : slices_(*slices), use_(use) {}

  bool Next(const void** data, int* size) override;
  void BackUp(int count) override { unread_ = static_cast<size_t>(count); }
  bool Skip(int count) override;
  int64_t ByteCount() const override { return static_cast<int64_t>(passed_ - unread_); }

 private:
  std::vector<grpc::Slice>& slices_;
  const Use use_;
  size_t next_ = 0;    // slice
  size_t unread_ = 0;  // bytes at the end of the one before it
  uint64_t passed_ = 0;
};

// `message` as bytes to be sent.
grpc::ByteBuffer ToBytes(const google::protobuf::Message& message);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_BYTE_BUFFER_H_
