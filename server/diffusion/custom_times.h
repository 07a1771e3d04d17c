// A caller's own times in place of a grid.
#ifndef DENOISE_SERVER_DIFFUSION_CUSTOM_TIMES_H_
#define DENOISE_SERVER_DIFFUSION_CUSTOM_TIMES_H_

#include "absl/status/status.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/sampler.h"
#include "server/diffusion/time_grid.h"

namespace denoise {

// Whether `options.timesteps`, which is not empty, is a list of times for a sampler that calls the
// denoiser at times of `grid`: finite, 0..T-1, or for a flow model above 0 and at most T, strictly
// descending, and whole for TimeGrid::kWhole, which looks levels up. Otherwise, or where steps,
// spacing or sigmas contradict it, a FieldError "sampler.timesteps" or "sampler.timesteps[i]".
absl::Status ValidateTimesteps(const SamplerOptions& options, TimeGrid grid,
                               const NoiseSchedule& schedule);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_CUSTOM_TIMES_H_
