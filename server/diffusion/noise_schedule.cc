#include "server/diffusion/noise_schedule.h"

#include <cmath>

namespace denoise {

NoiseSchedule::NoiseSchedule(const std::vector<double>& betas) {
  alpha_bars_.reserve(betas.size());
  double alpha_bar = 1;  // Not rounded between factors.
  for (const double beta : betas) {
    alpha_bar *= 1.0F - static_cast<float>(beta);
    alpha_bars_.push_back(static_cast<float>(alpha_bar));
  }
}

double NoiseSchedule::alpha(int64_t t) const { return std::sqrt(alpha_bars_[t]); }

double NoiseSchedule::sigma(int64_t t) const { return std::sqrt(1 - alpha_bars_[t]); }

}  // namespace denoise
