// Seconds as a Duration message.
#ifndef DENOISE_SERVER_RPC_MESSAGES_DURATION_H_
#define DENOISE_SERVER_RPC_MESSAGES_DURATION_H_

#include <cmath>
#include <cstdint>

#include "google/protobuf/duration.pb.h"

namespace denoise {

// `seconds` ≥ 0.
inline void SetDuration(double seconds, google::protobuf::Duration* message) {
  const double whole = std::floor(seconds);
  message->set_seconds(static_cast<int64_t>(whole));
  message->set_nanos(static_cast<int32_t>((seconds - whole) * 1e9));
}

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_DURATION_H_
