#include "server/devices.h"

#include <algorithm>
#include <regex>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "spdlog/spdlog.h"

namespace denoise {
namespace {

absl::Status NotWrittenSo(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "'", text,
      "' is not served: write cpu (as many replicas as measured best), cpu:N, cuda:0 or ",
      "cuda:0,cuda:1 (an engine on each), or all (every CUDA device, else cpu)"));
}

std::string KindOf(const std::string& device) { return device.substr(0, device.find(':')); }

// "one, cuda:0" or "3, cuda:0 to cuda:2".
std::string Count(const std::string& kind, int count) {
  if (count == 1) return absl::StrCat("one, ", kind, ":0");
  return absl::StrCat(count, ", ", kind, ":0 to ", kind, ":", count - 1);
}

absl::Status NotThere(const std::string& device, const Accelerators& there) {
  const std::string kind = KindOf(device);
  std::string reason;
  if (!there.built) {
    reason = absl::StrCat("this LibTorch is built without ", kind,
                          ": build denoised with one that has it (docs/cuda.md), or write cpu");
  } else if (there.count == 0) {
    reason =
        absl::StrCat("LibTorch is built for it, but no such device can be used (", there.why_none,
                     "): install its driver and let this process reach it, or write cpu");
  } else {
    reason = absl::StrCat("there is no such device: there ", there.count == 1 ? "is " : "are ",
                          Count(kind, there.count));
  }
  return absl::FailedPreconditionError(absl::StrCat("--devices: ", device, ": ", reason));
}

}  // namespace

std::string Devices::label(int engine) const {
  return accelerators.empty() ? absl::StrCat("cpu:", engine) : accelerators[engine];
}

absl::StatusOr<Devices> ParseDevices(absl::string_view text) {
  static const std::regex kCpu(R"(cpu(?::([1-9]\d{0,3}))?)");
  static const std::regex kAccelerator(R"((?!cpu)[a-z]+:(0|[1-9]\d{0,2}))");
  Devices devices;
  const std::string whole(text);
  std::smatch match;
  if (whole == "all") {
    devices.all = true;
    return devices;
  }
  if (std::regex_match(whole, match, kCpu)) {
    if (match[1].matched && !absl::SimpleAtoi(match[1].str(), &devices.cpu_replicas)) {
      return NotWrittenSo(text);
    }
    return devices;
  }
  const std::vector<std::string> names = absl::StrSplit(text, ',');
  for (const std::string& device : names) {
    if (names.size() > 1 && (KindOf(device) == "cpu" || device == "all")) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", text, "' has ", device,
                       " beside other devices: write it alone, because batch sizes ",
                       "and the times behind them are of one kind of device"));
    }
    if (!std::regex_match(device, kAccelerator)) return NotWrittenSo(text);
    std::vector<std::string>& named = devices.accelerators;
    if (std::find(named.begin(), named.end(), device) != named.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", text, "' has ", device, " twice: one engine a device, name it once"));
    }
    if (!named.empty() && KindOf(device) != KindOf(named[0])) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", text, "' mixes kinds of devices: write those of one kind, and start ",
                       "another server for the others"));
    }
    named.push_back(device);
  }
  return devices;
}

absl::StatusOr<Devices> FindDevices(
    absl::string_view text, const std::function<Accelerators(absl::string_view kind)>& find) {
  absl::StatusOr<Devices> read = ParseDevices(text);
  if (!read.ok()) {
    return absl::Status(read.status().code(), absl::StrCat("--devices: ", read.status().message()));
  }
  Devices& devices = *read;
  if (devices.all) {
    devices.all = false;
    const Accelerators there = find("cuda");
    for (int i = 0; i < there.count; ++i) devices.accelerators.push_back(absl::StrCat("cuda:", i));
    if (there.built && there.count == 0) {
      spdlog::warn("--devices all: no CUDA device ({}): serving on the CPU", there.why_none);
    }
    return read;
  }
  if (devices.accelerators.empty()) return read;
  const Accelerators there = find(KindOf(devices.accelerators[0]));
  for (const std::string& device : devices.accelerators) {
    int index = 0;
    if (!absl::SimpleAtoi(device.substr(device.find(':') + 1), &index) || index >= there.count) {
      return NotThere(device, there);
    }
  }
  return read;
}

}  // namespace denoise
