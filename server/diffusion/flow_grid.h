// The noise levels at which a sampler calls the denoiser of a flow model, x_t = (1-σ) x_0 + σ ε.
#ifndef DENOISE_SERVER_DIFFUSION_FLOW_GRID_H_
#define DENOISE_SERVER_DIFFUSION_FLOW_GRID_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/diffusion/sampler.h"
#include "server/diffusion/samplers/samplers.h"
#include "server/diffusion/scheduler_config.h"

namespace denoise {

// A FieldError where an option means nothing because the model is a flow model or because it is
// none, or where the sampler cannot sample a flow model.
absl::Status ValidateForFlow(const SamplerSpec& spec, const SchedulerConfig& config,
                             const SamplerOptions& options);

// One point a step, σ descending from at most 1, and the level at which the last step arrives.
// `config` is that of a flow model, the options have passed ValidateForFlow and their timesteps, if
// there are any, ValidateTimesteps. With N steps and T
// training steps
//
//   kEuler              u evenly from u_max to u_min, N values
//   kDpmSolver, kDeis   u = (1 - 1/T)(N-i)/N,            i = 0 … N-1
//   kUniPc              u = 1 - (1 - 1/T) i/N,           i = 0 … N-1
//   σ = shift u / (1 + (shift-1) u)
//
// where u_max, u_min are 1 and 1/T, shifted likewise, so that levels of Euler's are shifted twice;
// but not if the model has dynamic shifting. With a shift_terminal kEuler and kUniPc then stretch
// 1-σ so that the last σ is that; kEuler may put a curve of sigma_grid.h between the largest and
// the smallest. UniPC lowers a first σ of 1 by 1e-6. The denoiser is called at T σ, which all but
// kEuler cut to a whole number. The last step arrives at σ = 0, but for kDeis, and kUniPc where the
// file says final_sigmas_type sigma_min, at the last σ again.
//
// With options.timesteps instead σ = t/T for each, not shifted.
//
// The formulas are diffusers', and so are σ and times as float32 numbers. A FieldError
// "sampler.flow_shift", "sampler.steps" or "sampler.kind" where there is no such grid.
absl::StatusOr<std::vector<GridPoint>> MakeFlowPoints(const SamplerSpec& spec,
                                                      const SchedulerConfig& config,
                                                      const SamplerOptions& options);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_FLOW_GRID_H_
