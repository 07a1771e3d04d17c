// From absl::Status to what goes over the wire: a canonical code, a message, and google.rpc's
// details.
#ifndef DENOISE_SERVER_RPC_STATUS_H_
#define DENOISE_SERVER_RPC_STATUS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/support/status.h"

namespace denoise {

// Domain of every ErrorInfo.
inline constexpr char kErrorDomain[] = "denoise.v1";

// Reasons of ErrorInfo. A status that was given none has its code's: INVALID_FIELD for
// INVALID_ARGUMENT, MODEL_NOT_FOUND for NOT_FOUND, OUT_OF_MEMORY for RESOURCE_EXHAUSTED, DRAINING
// for UNAVAILABLE, and the code's own name for all others.
inline constexpr char kInvalidField[] = "INVALID_FIELD";
inline constexpr char kModelNotFound[] = "MODEL_NOT_FOUND";
inline constexpr char kModelLoading[] = "MODEL_LOADING";
inline constexpr char kQueueFull[] = "QUEUE_FULL";
inline constexpr char kQuotaExceeded[] = "QUOTA_EXCEEDED";
inline constexpr char kDeadlineUnreachable[] = "DEADLINE_UNREACHABLE";
inline constexpr char kOutOfMemory[] = "OUT_OF_MEMORY";
inline constexpr char kMemoryFull[] = "MEMORY_FULL";
inline constexpr char kMessageTooLarge[] = "MESSAGE_TOO_LARGE";
inline constexpr char kMessageRefused[] = "MESSAGE_REFUSED";
inline constexpr char kDraining[] = "DRAINING";
inline constexpr char kReaderStalled[] = "READER_STALLED";
inline constexpr char kRegionNotFound[] = "REGION_NOT_FOUND";

// `status` with a reason for its ErrorInfo. Not for OK.
absl::Status WithReason(absl::Status status, absl::string_view reason);
// `status` with the time after which it makes sense to try again.
absl::Status WithRetryDelay(absl::Status status, absl::Duration delay);

// The reason that its ErrorInfo has or would have.
std::string ReasonOf(const absl::Status& status);

// The canonical name of its code: "OK", "INVALID_ARGUMENT", …
std::string CodeName(const absl::Status& status);

// Its message as it may be shown: one line of at most 512 bytes. INTERNAL and UNKNOWN, whose texts
// come from libraries, without paths and addresses.
std::string MessageOf(const absl::Status& status);

// With google.rpc.Status as its details: ErrorInfo always; BadRequest where FieldOf() names a
// field; RetryInfo for UNAVAILABLE and for RESOURCE_EXHAUSTED but MESSAGE_TOO_LARGE, a second where
// no delay was given.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_STATUS_H_
