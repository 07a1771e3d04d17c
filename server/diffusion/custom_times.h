// A caller's own times in place of a grid.
#ifndef DENOISE_SERVER_DIFFUSION_CUSTOM_TIMES_H_
#define DENOISE_SERVER_DIFFUSION_CUSTOM_TIMES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/diffusion/sampler.h"
#include "server/diffusion/time_grid.h"

namespace denoise {

// Whether `options.timesteps`, which is not empty, is a list of times for a sampler that calls the
// denoiser at times of `grid`: finite, 0..train_steps-1, strictly descending, and whole for
// TimeGrid::kWhole, which looks levels up. Otherwise, or where steps, spacing or sigmas contradict
// it, a FieldError "sampler.timesteps" or "sampler.timesteps[i]".
absl::Status ValidateTimesteps(const SamplerOptions& options, TimeGrid grid, int64_t train_steps);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_CUSTOM_TIMES_H_
