#include "server/replicas.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "spdlog/spdlog.h"

namespace denoise {
namespace {

// Cores that this process may use: by its affinity, and by the quota of its control group, which is
// how containers are limited.
int UsableCores() {
  cpu_set_t affinity;
  int cores = sched_getaffinity(0, sizeof(affinity), &affinity) == 0
                  ? CPU_COUNT(&affinity)
                  : static_cast<int>(std::thread::hardware_concurrency());
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");  // "QUOTA PERIOD" or "max PERIOD"
  double quota = 0;
  double period = 0;
  if (quota_file >> quota >> period && period > 0) {
    cores = std::min(cores, static_cast<int>(quota / period + 0.5));
  }
  return std::max(cores, 1);
}

}  // namespace

Replicas ChooseReplicas(const Flags& flags, const Devices& devices) {
  const int cores = UsableCores();
  Replicas replicas;
  if (!devices.accelerators.empty()) {
    // The engine's own thread updates the chains; LibTorch has nothing to share out on the CPU.
    replicas.count = static_cast<int>(devices.accelerators.size());
    replicas.threads = std::max(flags.threads, 1);
  } else {
    replicas.count = devices.cpu_replicas > 0 ? devices.cpu_replicas
                                              : std::max(1, cores / std::max(flags.threads, 1));
    replicas.threads = flags.threads > 0 ? flags.threads : std::max(1, cores / replicas.count);
  }
  if (replicas.count * replicas.threads > cores) {
    spdlog::warn("{} replicas of {} threads share {} cores: they will slow each other down",
                 replicas.count, replicas.threads, cores);
  }
  return replicas;
}

LoadOptions OptionsOf(const Flags& flags, const Devices& devices, const Replicas& replicas) {
  LoadOptions options;
  options.devices = devices.accelerators;
  options.layout = flags.layout;
  options.max_batch_rows = flags.max_batch_rows;
  options.batch_sizes = flags.batch_sizes;
  options.batch_invariant = flags.batch_invariant;
  options.replicas = replicas.count;
  options.threads = replicas.threads;
  return options;
}

}  // namespace denoise
