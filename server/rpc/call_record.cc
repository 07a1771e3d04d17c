#include "server/rpc/call_record.h"

#include "absl/strings/ascii.h"
#include "server/rpc/status.h"
#include "spdlog/spdlog.h"

namespace denoise {

void RecordCall(const CallRecord& record, const absl::Status& status, SteadyTime now,
                Metrics* metrics) {
  const std::string code = CodeName(status);
  const double seconds = SecondsBetween(record.arrival, now);
  metrics->RequestDone(record.model, record.method, code, seconds);
  const auto level = absl::IsInternal(status) || absl::IsUnknown(status) ? spdlog::level::err
                                                                         : spdlog::level::info;
  spdlog::log(level, "request id={} method={} model={} code={} n={} steps={} seconds={:.6f}{}{}",
              record.id, record.method, record.model.empty() ? "-" : record.model, code,
              record.num_samples, record.steps, seconds,
              status.ok() ? "" : " message=", status.ok() ? "" : MessageOf(status));
}

void RecordRejection(const absl::Status& status, Metrics* metrics) {
  metrics->RequestRejected(absl::AsciiStrToLower(ReasonOf(status)));
}

}  // namespace denoise
