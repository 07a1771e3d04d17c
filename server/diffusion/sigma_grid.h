// The noise levels at which a sampler calls the denoiser, for samplers that think in them.
//
// In this file sigma means sigma_t/alpha_t, the noise level of the variance-exploding process, as
// in Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models".
#ifndef DENOISE_SERVER_DIFFUSION_SIGMA_GRID_H_
#define DENOISE_SERVER_DIFFUSION_SIGMA_GRID_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/scheduler_config.h"
#include "server/diffusion/time_grid.h"

namespace denoise {

struct SigmaGridOptions {
  TimeGrid grid = TimeGrid::kFractional;
  Spacing spacing = Spacing::kLinspace;
  int64_t steps = 0;
  int64_t steps_offset = 0;
  Sigmas sigmas = Sigmas::kSchedule;
  // Bounds of the curves; absent: those of the times of the spacing (kFractional), or of the whole
  // schedule (kIntervals).
  std::optional<double> sigma_min = std::nullopt;
  std::optional<double> sigma_max = std::nullopt;
  // For kIntervals with kKarras: whether times are rounded to whole ones, or cut.
  bool round_karras_times = true;
};

struct TimeAndSigma {
  double time;
  double sigma;
};

// One for each step, sigma descending:
//
//   kSchedule     sigma at the time, linear between whole times
//   kKarras       (max^(1/7) + u (min^(1/7) - max^(1/7)))^7,   u from 0 to 1 evenly
//   kExponential  log sigma evenly
//   kBeta         min + F⁻¹(1-u) (max - min), F that of Beta(0.6, 0.6)
//                 (Lee et al. 2024, "Beta Sampling is All You Need")
//
// The times of a curve are those at which the schedule's log sigma, linear between whole times, is
// the curve's; kIntervals makes them whole. Two may then be equal, as sigmas are not.
//
// Sigmas and times are float32 numbers, as in diffusers, and the times of a curve follow from its
// float32 logarithms: cut to whole ones, they would show the difference. Errors are those of
// GridTimes, a FieldError "sampler.steps" where two sigmas would be equal, and one "sampler.sigmas"
// where a bound of the model's is not on the right side of the other.
absl::StatusOr<std::vector<TimeAndSigma>> MakeSigmaGrid(const NoiseSchedule& schedule,
                                                        const SigmaGridOptions& options);

// The schedule's sigma at each of `times`, which are strictly descending in 0..T-1, linear between
// whole times. A FieldError "sampler.timesteps" where two sigmas would be equal.
absl::StatusOr<std::vector<TimeAndSigma>> SigmasAt(const NoiseSchedule& schedule,
                                                   const std::vector<float>& times);

// sigma_t/alpha_t at t = 0, as float32.
double FirstSigma(const NoiseSchedule& schedule);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_SIGMA_GRID_H_
