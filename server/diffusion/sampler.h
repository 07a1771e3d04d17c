// From a model's schedule and a request's wishes to the table that a chain walks.
#ifndef DENOISE_SERVER_DIFFUSION_SAMPLER_H_
#define DENOISE_SERVER_DIFFUSION_SAMPLER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/scheduler_config.h"
#include "server/diffusion/table.h"

namespace denoise {

// What a request says about its sampler. Equal options give equal tables.
struct SamplerOptions {
  std::optional<SamplerKind> kind = std::nullopt;  // absent: the model's own
  uint32_t steps = 0;                              // 1..T
  double eta = 0;                                  // [0, 1]
  std::optional<Spacing> spacing = std::nullopt;
  std::optional<Sigmas> sigmas = std::nullopt;
  std::optional<Variance> variance = std::nullopt;
  std::optional<bool> clip_sample = std::nullopt;
  std::optional<double> clip_sample_range = std::nullopt;
  bool use_clipped_model_output = false;
  // Model times of the denoiser calls, strictly descending, in 0..T-1, whole for DDPM, DDIM and
  // PNDM; in place of steps, spacing and sigmas, also those of the model's file. A step goes to the
  // next time of the list, the last to x_0: as diffusers' DDPM, Euler, Heun and DPM-Solver++ take
  // `timesteps`, and for the classes that take none there, too (so DDIM and PNDM do not go down by
  // a stride). Levels between whole times are linear in sigma/alpha. Heun's second call of a step
  // is at the next time.
  std::vector<float> timesteps = {};
  std::optional<bool> thresholding = std::nullopt;
  std::optional<double> flow_shift = std::nullopt;
  // (0, 1]; absent: from noise. The last ⌊N·strength⌋ steps, begun at x = α image + σ z; a
  // multistep sampler counts its order from the first of them.
  std::optional<double> strength = std::nullopt;
  // Rows blend with a mask; with jump_samples ≥ 2 every jump_length steps are made that often. See
  // inpainting.h.
  bool inpainting = false;
  uint32_t jump_length = 0;
  uint32_t jump_samples = 0;

  bool operator==(const SamplerOptions&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const SamplerOptions& o) {
    return H::combine(std::move(h), o.kind, o.steps, o.eta, o.spacing, o.sigmas, o.variance,
                      o.clip_sample, o.clip_sample_range, o.use_clipped_model_output, o.timesteps,
                      o.thresholding, o.flow_shift, o.strength, o.inpainting, o.jump_length,
                      o.jump_samples);
  }
};

// Every kind that there is.
std::vector<SamplerKind> AllSamplers();

// Makes the table. `learned_variance`: the denoiser gives 2C channels. A FieldError
// ("sampler.steps", "sampler.eta", …) where an option is out of its range, does nothing for the
// sampler that was chosen, or contradicts the model.
absl::StatusOr<Table> MakeTable(const SchedulerConfig& config, const NoiseSchedule& schedule,
                                bool learned_variance, const SamplerOptions& options);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_SAMPLER_H_
