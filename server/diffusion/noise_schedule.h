// The fixed forward process: β_t and what follows from it.
#ifndef DENOISE_SERVER_DIFFUSION_NOISE_SCHEDULE_H_
#define DENOISE_SERVER_DIFFUSION_NOISE_SCHEDULE_H_

#include <cstdint>
#include <vector>

namespace denoise {

// Immutable. Times are 0..T-1.
//
// Each ᾱ_t is a float32 number, the product in double of the float32 factors 1 - β_s: bit for bit
// diffusers' alphas_cumprod, so the levels that models are trained at. Near t = 0, where 1-ᾱ is
// about 1e-4, that rounding is worth 1e-3 of σ², and a clipped DDIM chain shows it.
class NoiseSchedule {
 public:
  // `betas`: [T], each in (0, 1) and large enough for ᾱ to be less than 1 and to fall at every t.
  explicit NoiseSchedule(const std::vector<double>& betas);

  int64_t size() const { return static_cast<int64_t>(alpha_bars_.size()); }
  // Π_{s ≤ t} (1 - β_s).
  double alpha_bar(int64_t t) const { return alpha_bars_[t]; }
  double alpha(int64_t t) const;  // √ᾱ
  double sigma(int64_t t) const;  // √(1-ᾱ)
  const std::vector<double>& alpha_bars() const { return alpha_bars_; }

 private:
  std::vector<double> alpha_bars_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_NOISE_SCHEDULE_H_
