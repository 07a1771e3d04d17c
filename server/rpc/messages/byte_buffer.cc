#include "server/rpc/messages/byte_buffer.h"

#include <algorithm>

#include "grpcpp/impl/codegen/proto_utils.h"

namespace denoise {

bool SliceStream::Next(const void** data, int* size) {
  if (unread_ == 0) {
    if (use_ == Use::kConsume && next_ > 0) slices_[next_ - 1] = grpc::Slice();
    while (next_ < slices_.size() && slices_[next_].size() == 0) ++next_;
    if (next_ == slices_.size()) return false;
    unread_ = slices_[next_].size();
    passed_ += unread_;
    ++next_;
  }
  *data = slices_[next_ - 1].end() - unread_;
  *size = static_cast<int>(unread_);
  unread_ = 0;
  return true;
}

bool SliceStream::Skip(int count) {
  const void* data;
  int size = 0;
  while (count > 0 && Next(&data, &size)) {
    if (size > count) BackUp(size - count);
    count -= std::min(size, count);
  }
  return count == 0;
}

grpc::ByteBuffer ToBytes(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own;
  const grpc::Status status =
      grpc::SerializationTraits<google::protobuf::Message>::Serialize(message, &bytes, &own);
  // It fails for messages of 2 GiB and more, which no limit lets be made.
  if (!status.ok()) bytes.Clear();
  return bytes;
}

}  // namespace denoise
