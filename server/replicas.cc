#include "server/replicas.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
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

Replicas ChooseReplicas(const Flags& flags) {
  const int cores = UsableCores();
  Replicas replicas;
  int asked = 0;
  const std::vector<std::string> parts = absl::StrSplit(flags.devices, ':');
  if (parts.size() == 2 && absl::SimpleAtoi(parts[1], &asked)) {
    replicas.count = asked;
  } else {
    replicas.count = std::max(1, cores / std::max(flags.threads, 1));
  }
  replicas.threads = flags.threads > 0 ? flags.threads : std::max(1, cores / replicas.count);
  if (replicas.count * replicas.threads > cores) {
    spdlog::warn("{} replicas of {} threads share {} cores: they will slow each other down",
                 replicas.count, replicas.threads, cores);
  }
  return replicas;
}

LoadOptions OptionsOf(const Flags& flags, const Replicas& replicas) {
  LoadOptions options;
  options.executor = flags.executor;
  options.layout = flags.layout;
  options.max_batch_rows = flags.max_batch_rows;
  options.batch_sizes = flags.batch_sizes;
  options.batch_invariant = flags.batch_invariant;
  options.replicas = replicas.count;
  options.threads = replicas.threads;
  return options;
}

}  // namespace denoise
