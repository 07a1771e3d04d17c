// The β schedules that a scheduler_config.json names.
#ifndef DENOISE_SERVER_DIFFUSION_BETA_SCHEDULE_H_
#define DENOISE_SERVER_DIFFUSION_BETA_SCHEDULE_H_

#include <cstdint>
#include <vector>

namespace denoise {

enum class BetaSchedule {
  kLinear,           // β evenly from start to end (Ho et al. 2020)
  kScaledLinear,     // √β evenly (latent diffusion)
  kSquaredCosCapV2,  // ᾱ(u) = cos²(π/2 · (u+0.008)/1.008), β ≤ 0.999 (Nichol & Dhariwal 2021)
  kSigmoid,          // β = start + (end-start) · sigmoid of evenly from -6 to 6 (GeoDiff)
};

// [train_steps] values, each rounded to float32: those are the numbers that diffusers trained and
// runs models with, and near the end of the cosine schedule, where 1-β is 0.001, the rounding is a
// hundred times larger in ᾱ. kSquaredCosCapV2 has no use for start and end. `train_steps` ≥ 1.
std::vector<double> MakeBetas(BetaSchedule schedule, int64_t train_steps, double start, double end);

// The betas whose √ᾱ is that of `betas`, shifted and scaled so that it ends in 0 and begins where
// it did: the last of them is 1. Lin et al. 2024, "Common Diffusion Noise Schedules and Sample
// Steps are Flawed", algorithm 1, operation by operation in float32 as diffusers does it. `betas`:
// [T] as NoiseSchedule takes them, T ≥ 2.
std::vector<double> RescaleToZeroSnr(const std::vector<double>& betas);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_BETA_SCHEDULE_H_
