// What a call says about itself besides its message.
#ifndef DENOISE_SERVER_RPC_CALL_METADATA_H_
#define DENOISE_SERVER_RPC_CALL_METADATA_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "server/engine/clock.h"

namespace denoise {

// Its key; answers carry it too, in their trailing metadata: once a caller has had initial
// metadata, gRPC no longer retries by itself.
inline constexpr char kRequestId[] = "x-request-id";

// A new id, 32 hexadecimal digits, random.
std::string MakeRequestId();

// The caller's x-request-id, or a new one where it sent none. A FieldError "x-request-id" unless it
// is one value of 1..128 printable ASCII characters without blanks, so that it fits into logs.
absl::StatusOr<std::string> RequestIdOf(const grpc::CallbackServerContext& context);

// The caller's denoise-tenant, under the same rules; empty where it sent none.
absl::StatusOr<std::string> TenantOf(const grpc::CallbackServerContext& context);

// The trace that the call belongs to, of its `traceparent`: 32 hexadecimal digits; empty where it
// has none, or several, or one that is none.
std::string TraceIdOf(const grpc::CallbackServerContext& context);

// The call's deadline in steady time, converted here and nowhere else; nullopt: none, or more than
// a year away.
std::optional<SteadyTime> DeadlineOf(const grpc::CallbackServerContext& context, SteadyTime now);

// How a call ends that gRPC has cancelled: DEADLINE_EXCEEDED where its deadline has passed, else
// CANCELLED by its caller.
absl::Status CancelledStatus(std::optional<SteadyTime> deadline, SteadyTime now);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_CALL_METADATA_H_
