#include "server/replicas.h"

#include <algorithm>

#include "server/model/runtime/accelerators.h"
#include "server/model/runtime/machine.h"
#include "spdlog/spdlog.h"

namespace denoise {

absl::StatusOr<Devices> PrepareDevices(const Flags& flags) {
  absl::StatusOr<Devices> devices = FindDevices(flags.devices);
  if (devices.ok() && !devices->accelerators.empty()) PrepareAccelerators(flags.batch_invariant);
  return devices;
}

LoadOptions OptionsOf(const Flags& flags, const Devices& devices, const TuningCache* cache) {
  LoadOptions options;
  options.devices = devices.accelerators;
  options.executor = flags.executor;
  options.layout = flags.layout;
  options.precision = flags.precision;
  options.max_batch_rows = flags.max_batch_rows;
  options.batch_sizes = flags.batch_sizes;
  options.batch_invariant = flags.batch_invariant;
  options.replicas = devices.cpu_replicas;
  options.threads = flags.threads;
  if (!devices.accelerators.empty()) {
    // The engine's own thread updates the chains; LibTorch has nothing to share out on the CPU.
    options.replicas = static_cast<int>(devices.accelerators.size());
    options.threads = std::max(flags.threads, 1);
  }
  options.cores = ThisMachine().cores;
  options.tune_for = flags.tune_for == "latency" ? TuneFor::kLatency : TuneFor::kThroughput;
  options.tune_seconds = flags.tune_seconds;
  options.tuning_cache = cache;
  return options;
}

void FixReplicas(const ModelInfo& first, LoadOptions* options) {
  options->replicas = first.replicas;
  options->threads = first.threads;
}

void WarnOfTooManyThreads(int replicas, int threads) {
  const int cores = ThisMachine().cores;
  if (replicas * threads <= cores) return;
  spdlog::warn("{} replicas of {} threads share {} cores: they will slow each other down", replicas,
               threads, cores);
}

}  // namespace denoise
