#include "server/model/runtime/precision.h"

#include "absl/strings/str_cat.h"

namespace denoise {

absl::Status CheckPrecision(absl::string_view precision, absl::string_view weights,
                            const Machine& machine) {
  if (precision == "float32") return absl::OkStatus();
  if (precision != "bfloat16") {
    return absl::InvalidArgumentError(
        absl::StrCat("--precision: ", precision, " is not one of float32, bfloat16"));
  }
  if (weights != "float32" && weights != "bfloat16") {
    return absl::InvalidArgumentError(
        absl::StrCat("--precision: bfloat16 is for float32 weights, and those of denoiser.pt are ",
                     weights, ": leave out the flag, or export it in float32"));
  }
  if (!machine.bfloat16) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--precision: bfloat16 would be several times slower than float32 on this CPU (",
        machine.cpu.empty() ? "unknown" : machine.cpu,
        "), which has neither AVX512_BF16 nor AMX: leave out the flag, or use another machine"));
  }
  return absl::OkStatus();
}

}  // namespace denoise
