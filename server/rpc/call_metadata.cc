#include "server/rpc/call_metadata.h"

#include <chrono>
#include <iterator>
#include <random>

#include "absl/strings/str_cat.h"
#include "grpc/support/time.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/access/principal.h"
#include "server/rpc/messages/text.h"
#include "server/rpc/traceparent.h"

namespace denoise {
namespace {

constexpr int64_t kYearSeconds = int64_t{365} * 24 * 3600;
// gRPC's timers are in milliseconds, so a call may end that much before its deadline in steady
// time.
constexpr auto kTimerTolerance = std::chrono::milliseconds(5);

// 32 hexadecimal digits, random.
std::string MakeRequestId() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return absl::StrCat(absl::Hex(generator(), absl::kZeroPad16),
                      absl::Hex(generator(), absl::kZeroPad16));
}

std::string TraceIdOf(const grpc::CallbackServerContext& context) {
  const auto [begin, end] = context.client_metadata().equal_range("traceparent");
  if (begin == end || std::next(begin) != end) return "";
  return TraceIdIn(absl::string_view(begin->second.data(), begin->second.size()));
}

}  // namespace

absl::StatusOr<std::optional<std::string>> NameIn(const CallMetadata& metadata, const char* key) {
  const auto [begin, end] = metadata.equal_range(key);
  if (begin == end) return std::nullopt;
  if (std::next(begin) != end) {
    return FieldError(key, "sent more than once; send one");
  }
  const absl::string_view name(begin->second.data(), begin->second.size());
  if (!IsName(name)) {
    return FieldError(key, absl::StrCat(Quote(name),
                                        " is not 1..128 printable ASCII characters "
                                        "without blanks"));
  }
  return std::string(name);
}

absl::Status Identify(const grpc::CallbackServerContext& context, CallRecord* record) {
  const absl::StatusOr<std::optional<std::string>> id =
      NameIn(context.client_metadata(), kRequestId);
  record->id = id.ok() && id->has_value() ? **id : MakeRequestId();
  record->trace_id = TraceIdOf(context);
  return id.status();
}

std::optional<SteadyTime> DeadlineOf(const grpc::CallbackServerContext& context, SteadyTime now) {
  const gpr_timespec deadline = context.raw_deadline();
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return std::nullopt;
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  if (left.tv_sec > kYearSeconds) return std::nullopt;
  if (left.tv_sec < 0) return now;
  return now + std::chrono::seconds(left.tv_sec) + std::chrono::nanoseconds(left.tv_nsec);
}

absl::Status CancelledStatus(std::optional<SteadyTime> deadline, SteadyTime now) {
  const bool late = deadline.has_value() && now + kTimerTolerance >= *deadline;
  return late ? absl::DeadlineExceededError("the deadline passed")
              : absl::CancelledError("the caller cancelled, or is gone");
}

}  // namespace denoise
