// The first calls of a denoiser, which are slow.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_WARM_UP_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_WARM_UP_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/batch_inputs.h"
#include "server/model/denoiser/carrier.h"
#include "server/model/denoiser/denoiser.h"

namespace denoise {

// Makes `rows` rows ready to be called with, all alike. May throw, as LibTorch does.
absl::Status FillAlike(const ModelInfo& info, int64_t rows, BatchInputs* inputs);

// Three calls at each of info's batch sizes, each through `carrier`: on the thread of the engine
// that is to call it.
absl::Status WarmUp(const Denoiser& denoiser, const ModelInfo& info, const Carrier& carrier);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_WARM_UP_H_
