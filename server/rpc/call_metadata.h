// What a call says about itself besides its message.
#ifndef DENOISE_SERVER_RPC_CALL_METADATA_H_
#define DENOISE_SERVER_RPC_CALL_METADATA_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/string_ref.h"
#include "server/engine/clock.h"
#include "server/rpc/call_record.h"

namespace denoise {

using CallMetadata = std::multimap<grpc::string_ref, grpc::string_ref>;

// Its key; answers carry it too, in their trailing metadata: once a caller has had initial
// metadata, gRPC no longer retries by itself.
inline constexpr char kRequestId[] = "x-request-id";

// Gives the record its id and its trace. The id is the caller's x-request-id, or a new one, 32
// hexadecimal digits, where it sent none or sends what is refused: a FieldError "x-request-id"
// unless it is one name (IsName). The trace is that of `traceparent`, 32 hexadecimal digits; empty
// where the call has none, or several, or one that is none.
absl::Status Identify(const grpc::CallbackServerContext& context, CallRecord* record);

// The value of that key, which is there at most once and is a name (IsName), else a FieldError of
// the key; nullopt: it is not there.
absl::StatusOr<std::optional<std::string>> NameIn(const CallMetadata& metadata, const char* key);

// The call's deadline in steady time, converted here and nowhere else; nullopt: none, or more than
// a year away.
std::optional<SteadyTime> DeadlineOf(const grpc::CallbackServerContext& context, SteadyTime now);

// How a call ends that gRPC has cancelled: DEADLINE_EXCEEDED where its deadline has passed, else
// CANCELLED by its caller.
absl::Status CancelledStatus(std::optional<SteadyTime> deadline, SteadyTime now);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_CALL_METADATA_H_
