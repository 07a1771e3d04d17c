// What --devices names: engines on the CPU, or one on each of some accelerators.
#ifndef DENOISE_SERVER_DEVICES_H_
#define DENOISE_SERVER_DEVICES_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/runtime/accelerators.h"

namespace denoise {

struct Devices {
  bool all = false;      // every CUDA device, else the CPU; false once they are found
  int cpu_replicas = 0;  // 0: not said
  // One an engine, as LibTorch writes them: "cuda:0". Empty: the CPU.
  std::vector<std::string> accelerators;

  // The name of an engine's device for metrics: "cuda:0"; on the CPU "cpu:" and the engine's
  // number.
  std::string label(int engine) const;
};

// Reads "cpu", "cpu:2", "cuda:0", "cuda:0,cuda:1", "all". INVALID_ARGUMENT where it is written
// otherwise, a device is named twice or two kinds are mixed; the message names the value and the
// fix, not the flag.
absl::StatusOr<Devices> ParseDevices(absl::string_view text);

// The same, with `all` made out, where everything named is there. Else FAILED_PRECONDITION, which
// says which it is: LibTorch is not built for it, its driver is not there, or there are fewer
// devices. Messages name the flag.
absl::StatusOr<Devices> FindDevices(
    absl::string_view text,
    const std::function<Accelerators(absl::string_view kind)>& find = FindAccelerators);

}  // namespace denoise

#endif  // DENOISE_SERVER_DEVICES_H_
