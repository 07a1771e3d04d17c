// Statistics of a load.
#ifndef DENOISE_CLIENT_CLI_LOAD_LOAD_STATS_H_
#define DENOISE_CLIENT_CLI_LOAD_LOAD_STATS_H_

#include <cstdint>
#include <map>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/load/latency_histogram.h"

namespace denoise::cli {

// One request that has ended. Times are those of the TaskLoop.
struct LoadSample {
  uint32_t steps = 0;        // asked for
  absl::Duration scheduled;  // when it was to be sent,
  absl::Duration sent;       // and was
  absl::Duration ended;
  std::optional<absl::Duration> first_state;  // when it came; absent: none did
  absl::Status status;
  // Of its Result.
  absl::Duration queue;
  uint64_t rows = 0;
  uint32_t states_dropped = 0;
};

struct Latencies {
  LatencyHistogram total;        // from `scheduled` on
  LatencyHistogram queue;        // as the server measured it
  LatencyHistogram first_state;  // from `scheduled` on

  void Record(const LoadSample& sample);
};

// Counts in the window [from, to): latencies and errors of what was scheduled in it, rates of what
// ended in it. So no request is left out for being slow, and what had begun before the window makes
// up for what ends after it. Not thread-safe.
class LoadStats {
 public:
  LoadStats(absl::Duration from, absl::Duration to) : from_(from), to_(to) {}

  void Add(const LoadSample& sample);
  // The window ends here, before its time.
  void EndAt(absl::Duration now);

  absl::Duration from() const { return from_; }
  absl::Duration to() const { return to_; }
  absl::Duration elapsed() const { return to_ - from_; }

  struct Errors {
    uint64_t count = 0;
    absl::Status first;
  };

  Latencies all;
  std::map<uint32_t, Latencies> by_steps;
  LatencyHistogram send_delay;  // from scheduled to sent: the client's own lag
  std::map<absl::StatusCode, Errors> errors;
  // Of what ended well in the window.
  uint64_t requests = 0;
  uint64_t rows = 0;
  uint64_t states_dropped = 0;
  // CPU time of this process within the window, of all threads.
  absl::Duration cpu;

 private:
  const absl::Duration from_;
  absl::Duration to_;
};

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_LOAD_LOAD_STATS_H_
