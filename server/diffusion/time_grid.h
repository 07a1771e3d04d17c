// The training times at which a sampler calls the denoiser.
#ifndef DENOISE_SERVER_DIFFUSION_TIME_GRID_H_
#define DENOISE_SERVER_DIFFUSION_TIME_GRID_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/diffusion/scheduler_config.h"

namespace denoise {

// The ways in which samplers choose their times.
enum class TimeGrid {
  // WholeTimes: DDPM, DDIM, PNDM.
  kWhole,
  // The same, but that linspace is not rounded: Euler, Heun, LMS.
  kFractional,
  // Whole times as bounds of N intervals down to 0, which itself is left out: the multistep
  // solvers in half log-SNR.
  kIntervals,
};

// A FieldError "sampler.steps" where `steps` is not in 1..train_steps.
absl::Status ValidateSteps(int64_t train_steps, int64_t steps);

// `steps` whole times, strictly descending, each 0..train_steps-1, as DDPM and DDIM use them:
//
//   leading    i ⌊T/N⌋ + steps_offset,  i = N-1 … 0
//   trailing   round(T - i T/N) - 1,    i = 0 … N-1
//   linspace   round(i (T-1)/(N-1)),    i = N-1 … 0;  the time 0 alone for N = 1
//
// with T training steps, N steps, and halves rounded to even. Only leading uses `steps_offset`.
// (Table 2 of Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024.)
//
// A FieldError "sampler.steps" where `steps` is not in 1..T, or where an offset would put the first
// time past T-1.
absl::StatusOr<std::vector<int64_t>> WholeTimes(Spacing spacing, int64_t train_steps, int64_t steps,
                                                int64_t steps_offset);

// `steps` times in descending order, each 0..train_steps-1, as WholeTimes but for
//
//   kFractional   linspace   i (T-1)/(N-1),          i = N-1 … 0 (as float32)
//   kIntervals    leading    i ⌊T/(N+1)⌋ + offset,   i = N … 1
//                 linspace   round(i (T-1)/N),       i = N … 1
//
// A FieldError "sampler.steps" also where two of the times would coincide.
absl::StatusOr<std::vector<double>> GridTimes(TimeGrid grid, Spacing spacing, int64_t train_steps,
                                              int64_t steps, int64_t steps_offset);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_TIME_GRID_H_
