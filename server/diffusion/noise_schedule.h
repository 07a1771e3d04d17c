// The fixed forward process: β_t and what follows from it.
#ifndef DENOISE_SERVER_DIFFUSION_NOISE_SCHEDULE_H_
#define DENOISE_SERVER_DIFFUSION_NOISE_SCHEDULE_H_

#include <cstdint>
#include <vector>

namespace denoise {

// Immutable. Times are 0..T-1.
class NoiseSchedule {
 public:
  // `betas`: [T], each in (0, 1).
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
