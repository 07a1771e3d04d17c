// Measures a denoiser as replicas call it.
#ifndef DENOISE_SERVER_MODEL_TUNING_TRIAL_H_
#define DENOISE_SERVER_MODEL_TUNING_TRIAL_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/tuning/tuning.h"

namespace denoise {

// `replicas` threads of `threads` each call the denoiser with `rows` rows, once to warm up and then
// for `seconds`, once at least. The rows a second are those of all together.
//
// The threads are made for it and have ended when it returns, and their OpenMP teams with them:
// with more such threads than cores in the process, LibTorch would run at a fraction of its speed.
// No engine may run meanwhile. `info` with the examination's findings.
absl::StatusOr<Slice> RunTrial(const Denoiser& denoiser, const ModelInfo& info, Plan plan,
                               int64_t rows, double seconds);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_TUNING_TRIAL_H_
