// What a message would become, found out from its bytes before anything is made of them.
#ifndef DENOISE_SERVER_RPC_MESSAGES_WIRE_CHECK_H_
#define DENOISE_SERVER_RPC_MESSAGES_WIRE_CHECK_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/zero_copy_stream.h"

namespace denoise {

struct WireLimits {
  uint64_t max_bytes = 64 << 20;  // of memory, once parsed
  uint32_t max_fields = 1 << 20;  // of all its parts together; an element that is not packed is one
  int max_depth = 16;             // messages in messages
};

// Walks `size` bytes in Protobuf's wire format that are to be a message of that type. About as many
// bytes of memory as parsing takes, never far fewer: every element of a repeated field with its
// size, every string and every part with what the allocator adds. Allocates next to nothing itself,
// and ends at the first byte past a limit. A FieldError, named by the path of the field or
// "message", where a limit is passed, a length is announced that is not there, or bytes are no
// fields. What passes may still be no message: strings, for one, are not looked into.
absl::StatusOr<uint64_t> CheckWire(const google::protobuf::Descriptor& type,
                                   google::protobuf::io::ZeroCopyInputStream* bytes, uint64_t size,
                                   const WireLimits& limits);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_WIRE_CHECK_H_
