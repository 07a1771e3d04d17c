// denoise bench
#ifndef DENOISE_CLIENT_CLI_LOAD_BENCH_COMMAND_H_
#define DENOISE_CLIENT_CLI_LOAD_BENCH_COMMAND_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/console.h"
#include "client/cli/flags/common_flags.h"
#include "client/cli/interrupt.h"
#include "client/cli/load/workload.h"
#include "client/cli/task_loop.h"

namespace denoise::cli {

struct BenchFlags {
  CommonFlags common;
  ModelFlags model;
  uint32_t clients = 8;
  double rate = 0;  // above 0: open loop
  absl::Duration duration = absl::Seconds(10);
  absl::Duration warm_up = absl::Seconds(1);
  uint64_t seed = 0;

  std::vector<Weighted<uint32_t>> steps;          // none: the model's
  std::vector<Weighted<Sampler::Kind>> samplers;  // none: the model's
  std::vector<int64_t> classes;
  uint32_t num_samples = 1;
  std::optional<float> guidance;

  bool stream = false;
  uint32_t every = 1;
  double slow_share = 0;
  absl::Duration slow_pause;

  std::string histogram;  // .png
};

void AddBenchFlags(CLI::App* app, BenchFlags* flags);

// The load of those flags.
WorkloadOptions MakeWorkloadOptions(const BenchFlags& flags, const Model& model);

// Puts the load on the server and prints what was measured; returns the exit code. Failed requests
// are counted; an error that every request would meet ends the run. An interrupt ends the load
// early.
int RunBench(const BenchFlags& flags, Client& client, Console& console, Interrupt& interrupt,
             const std::shared_ptr<TaskLoop>& loop = MakeTaskLoop());

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_LOAD_BENCH_COMMAND_H_
