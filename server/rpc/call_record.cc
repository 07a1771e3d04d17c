#include "server/rpc/call_record.h"

#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "server/log/log.h"
#include "server/log/log_limiter.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

// What lies behind the sixth place is noise that only makes lines longer.
double ToMicroseconds(double seconds) { return std::round(seconds * 1e6) / 1e6; }

// What anybody can send as fast as the network goes: calls without a token, or for what it does not
// allow; bytes that are no message.
bool IsCheapToSend(const absl::Status& status) {
  if (absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status)) return true;
  if (!absl::IsInvalidArgument(status) && !absl::IsResourceExhausted(status)) return false;
  const std::string reason = ReasonOf(status);
  return reason == kMessageRefused || reason == kMessageTooLarge;
}

// How many such lines were left out before this one; nullopt: this one is left out, too.
std::optional<uint64_t> AdmitLine(SteadyTime now) {
  constexpr uint32_t kLinesPerSecond = 10;
  static LogLimiter& limiter = *new LogLimiter(kLinesPerSecond);
  return limiter.Admit(now);
}

}  // namespace

void RecordCall(const CallRecord& record, const absl::Status& status, SteadyTime now,
                Metrics* metrics) {
  const std::string code = CodeName(status);
  const double seconds = SecondsBetween(record.arrival, now);
  metrics->RequestDone(record.model, record.method, code, seconds);
  const auto level = absl::IsInternal(status) || absl::IsUnknown(status) ? spdlog::level::err
                                                                         : spdlog::level::info;
  if (!spdlog::should_log(level)) return;
  std::optional<uint64_t> left_out = 0;
  if (IsCheapToSend(status)) left_out = AdmitLine(now);
  if (!left_out.has_value()) return;
  std::vector<LogField> fields = {
      {"id", record.id}, {"method", record.method}, {"model", record.model}, {"code", code}};
  if (!record.trace_id.empty()) fields.push_back({"trace_id", record.trace_id});
  if (!record.caller.name.empty()) fields.push_back({"principal", record.caller.name});
  if (!record.caller.tenant.empty()) fields.push_back({"tenant", record.caller.tenant});
  if (record.num_samples > 0) {
    fields.push_back({"samples", int64_t{record.num_samples}});
    fields.push_back({"steps", int64_t{record.steps}});
    fields.push_back({"rows", static_cast<int64_t>(record.rows)});
  }
  if (record.queue_seconds.has_value()) {
    fields.push_back({"queue_seconds", ToMicroseconds(*record.queue_seconds)});
  }
  fields.push_back({"seconds", ToMicroseconds(seconds)});
  if (!status.ok()) {
    fields.push_back({"reason", ReasonOf(status)});
    fields.push_back({"error", MessageOf(status)});
  }
  if (*left_out > 0) fields.push_back({"left_out", static_cast<int64_t>(*left_out)});
  LogEvent(level, "request", fields);
}

void RecordRejection(const absl::Status& status, Metrics* metrics) {
  metrics->RequestRejected(absl::AsciiStrToLower(ReasonOf(status)));
}

}  // namespace denoise
