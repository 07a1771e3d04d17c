// One call's entry in metrics and log.
#ifndef DENOISE_SERVER_RPC_CALL_RECORD_H_
#define DENOISE_SERVER_RPC_CALL_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/engine/clock.h"
#include "server/metrics/metrics.h"
#include "server/rpc/access/principal.h"

namespace denoise {

// What is known of a call when it ends. The model's name stays empty until it is known to be one
// that is served, so that callers cannot make up metric labels.
struct CallRecord {
  std::string id;
  std::string trace_id;  // empty: none
  Principal caller;      // nobody in particular until it is authenticated
  std::string method;
  std::string model;
  uint32_t num_samples = 0;
  uint32_t steps = 0;
  uint64_t rows = 0;                    // that the denoiser evaluated for it
  std::optional<double> queue_seconds;  // nullopt: it never left the queue, or was never in it
  SteadyTime arrival;
};

// Counts the call and writes its line to the log: "request" with what is known of it, as an error
// where the server is at fault (INTERNAL, UNKNOWN), else as information. Of calls without the right
// token and of bytes that are no message it writes ten lines a second; the next line then says how
// many were `left_out`.
void RecordCall(const CallRecord& record, const absl::Status& status, SteadyTime now,
                Metrics* metrics);

// Counts a call that was turned away before it was queued.
void RecordRejection(const absl::Status& status, Metrics* metrics);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_CALL_RECORD_H_
