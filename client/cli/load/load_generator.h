// Generates load on a server.
#ifndef DENOISE_CLIENT_CLI_LOAD_LOAD_GENERATOR_H_
#define DENOISE_CLIENT_CLI_LOAD_LOAD_GENERATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/load/load_stats.h"
#include "client/cli/load/workload.h"
#include "client/cli/task_loop.h"
#include "denoise/client.h"

namespace denoise::cli {

struct LoadPlan {
  uint32_t clients = 1;  // closed loop: each sends its next request when the last has ended
  double rate = 0;       // requests a second; above 0: open loop, whatever has ended
  absl::Duration warm_up;
  absl::Duration duration = absl::ZeroDuration();    // after the warm-up; infinite: until Stop()
  absl::Duration slow_pause = absl::ZeroDuration();  // of slow readers, before each further event
  CallOptions call;
  // CPU time of the process so far.
  std::function<absl::Duration()> cpu_time;
};

// One run. All that it decides happens on the thread of Run(), where it also waits; the library's
// threads only post tasks to it.
//
// Latencies count from the scheduled arrival, so that a server (or client) that lags cannot hide it
// by having fewer requests sent: no "coordinated omission". In the closed loop that is when the
// last request had ended.
class LoadGenerator {
 public:
  LoadGenerator(Client client, LoadPlan plan, Workload workload, std::shared_ptr<TaskLoop> loop);

  // Until the time is over and everything sent has ended. An error is one that every further
  // request would meet (such as INVALID_ARGUMENT); others are counted. Once.
  absl::Status Run();

  // Ends the run: what is under way is cancelled, and not counted; a slow reader's pause is still
  // waited for. Thread-safe.
  void Stop();

  const LoadStats& stats() const { return stats_; }

 private:
  struct Call;

  void Arrive(absl::Duration scheduled);
  void Send(absl::Duration scheduled);
  SampleCallbacks Callbacks(const std::shared_ptr<Call>& call, bool slow);
  void Ended(const std::shared_ptr<Call>& call);
  void EndWindow();
  void Halt();
  // Ends Run() where nothing is left to do.
  void QuitIfDone();

  Client client_;
  const LoadPlan plan_;
  Workload workload_;
  const std::shared_ptr<TaskLoop> loop_;
  const absl::Duration begin_;
  LoadStats stats_;
  absl::Duration cpu_at_begin_;  // of the window
  bool window_begun_ = false;
  bool window_over_ = false;
  bool halted_ = false;
  absl::Status failure_;
  uint64_t sent_ = 0;
  std::unordered_map<Call*, AsyncCall> running_;
};

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_LOAD_LOAD_GENERATOR_H_
