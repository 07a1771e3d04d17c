// The fixed forward process q(x_t|x_0) = N(alpha_t x_0, sigma_t² I).
#ifndef DENOISE_SERVER_DIFFUSION_NOISE_SCHEDULE_H_
#define DENOISE_SERVER_DIFFUSION_NOISE_SCHEDULE_H_

#include <cstdint>
#include <vector>

namespace denoise {

// Immutable. Times are 0..T-1.
//
// A diffusion's follows from its β_t, and alpha² + sigma² = 1. Each ᾱ_t is a float32 number, the
// product in double of the float32 factors 1 - β_s: bit for bit diffusers' alphas_cumprod, so the
// levels that models are trained at. Near t = 0, where 1-ᾱ is about 1e-4, that rounding is worth
// 1e-3 of σ², and a clipped DDIM chain shows it.
//
// A flow model's goes along the line alpha_t = 1 - sigma_t, sigma_t = (t+1)/T.
class NoiseSchedule {
 public:
  // `betas`: [T], each in (0, 1) and large enough for ᾱ to be less than 1 and to fall at every t.
  // The last may be 1, which is zero terminal signal-to-noise ratio: ᾱ_{T-1} = 0.
  explicit NoiseSchedule(const std::vector<double>& betas);
  static NoiseSchedule OfFlow(int64_t train_steps);

  bool is_flow() const { return is_flow_; }
  int64_t size() const { return static_cast<int64_t>(alpha_bars_.size()); }
  // alpha²; of a diffusion Π_{s ≤ t} (1 - β_s).
  double alpha_bar(int64_t t) const { return alpha_bars_[t]; }
  double alpha(int64_t t) const;
  double sigma(int64_t t) const;
  const std::vector<double>& alpha_bars() const { return alpha_bars_; }

  // Whether this is a diffusion that ends in pure noise, ᾱ_{T-1} = 0.
  bool has_zero_snr() const { return !is_flow_ && size() > 0 && alpha_bars_.back() == 0; }
  // The same with 2⁻²⁴ in its place, for samplers that divide by alpha: what diffusers takes there.
  NoiseSchedule WithoutZeroSnr() const;

 private:
  std::vector<double> alpha_bars_;
  bool is_flow_ = false;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_NOISE_SCHEDULE_H_
