// One call's entry in metrics and log.
#ifndef DENOISE_SERVER_RPC_CALL_RECORD_H_
#define DENOISE_SERVER_RPC_CALL_RECORD_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "server/engine/clock.h"
#include "server/metrics/metrics.h"

namespace denoise {

// What is known of a call when it ends. The model's name stays empty until it is known to be one
// that is served, so that callers cannot make up metric labels.
struct CallRecord {
  std::string id;
  std::string method;
  std::string model;
  uint32_t num_samples = 0;
  uint32_t steps = 0;
  SteadyTime arrival;
};

// Counts the call and writes its line to the log.
void RecordCall(const CallRecord& record, const absl::Status& status, SteadyTime now,
                Metrics* metrics);

// Counts a call that was turned away before it was queued.
void RecordRejection(const absl::Status& status, Metrics* metrics);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_CALL_RECORD_H_
