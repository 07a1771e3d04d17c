// What --precision may ask for.
#ifndef DENOISE_SERVER_MODEL_RUNTIME_PRECISION_H_
#define DENOISE_SERVER_MODEL_RUNTIME_PRECISION_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/model/runtime/machine.h"

namespace denoise {

// Whether --precision `precision` makes sense for weights of this type, by its name, on this
// machine: INVALID_ARGUMENT for bfloat16 where the CPU has no instructions for it, because it would
// then be three to six times slower than float32 (as measured by keeping oneDNN from using them),
// and where the weights are float16 or float64, which autocast leaves alone.
absl::Status CheckPrecision(absl::string_view precision, absl::string_view weights,
                            const Machine& machine);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_RUNTIME_PRECISION_H_
