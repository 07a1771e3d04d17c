#include "server/model/runtime/machine.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>
#include <vector>

#include "ATen/Version.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/model/runtime/control_group.h"
#include "torch/headeronly/version.h"

namespace denoise {
namespace {

// By the process's affinity, and by the quota of its control groups.
int UsableCores() {
  cpu_set_t affinity;
  int cores = sched_getaffinity(0, sizeof(affinity), &affinity) == 0
                  ? CPU_COUNT(&affinity)
                  : static_cast<int>(std::thread::hardware_concurrency());
  if (const auto quota = ControlGroup().cores()) {
    cores = std::min(cores, static_cast<int>(*quota + 0.5));
  }
  return std::max(cores, 1);
}

}  // namespace

Machine DescribeCpu(absl::string_view cpuinfo, absl::string_view instruction_set) {
  // Lines "key : value" of the first processor, on x86 and on ARM.
  std::map<std::string, std::string> lines;
  for (const absl::string_view line : absl::StrSplit(cpuinfo, '\n')) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(line, absl::MaxSplits(':', 1));
    lines.emplace(absl::StripAsciiWhitespace(pair.first), absl::StripAsciiWhitespace(pair.second));
  }
  const auto join = [&lines](std::initializer_list<const char*> keys) {
    std::string text;
    for (const char* key : keys) {
      const auto found = lines.find(key);
      if (found == lines.end() || found->second.empty()) continue;
      absl::StrAppend(&text, text.empty() ? "" : " ", found->second);
    }
    return text;
  };
  Machine machine;
  machine.cpu = join({"vendor_id", "cpu family", "model", "stepping", "model name",
                      "CPU implementer", "CPU part", "CPU variant"});
  const std::string maker = join({"vendor_id", "CPU implementer"});
  machine.capability = absl::StrCat(maker, maker.empty() ? "" : " ", std::string(instruction_set));
  const std::string words = join({"flags", "Features"});
  const std::vector<std::string> features = absl::StrSplit(words, ' ');
  for (const char* feature : {"avx512_bf16", "amx_bf16", "bf16"}) {
    if (std::count(features.begin(), features.end(), feature) == 0) continue;
    machine.bfloat16 = true;
    absl::StrAppend(&machine.capability, " ", feature);
  }
  return machine;
}

const Machine& ThisMachine() {
  static const Machine machine = [] {
    std::ifstream file("/proc/cpuinfo");
    const std::string cpuinfo{std::istreambuf_iterator<char>(file), {}};
    Machine found = DescribeCpu(cpuinfo, at::get_cpu_capability());
    found.cores = UsableCores();
    found.libtorch = TORCH_VERSION;
    return found;
  }();
  return machine;
}

}  // namespace denoise
