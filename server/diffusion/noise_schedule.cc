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

NoiseSchedule NoiseSchedule::OfFlow(int64_t train_steps) {
  NoiseSchedule schedule({});
  schedule.is_flow_ = true;
  schedule.alpha_bars_.reserve(train_steps);
  for (int64_t t = 0; t < train_steps; ++t) {
    const double alpha =
        static_cast<double>(train_steps - 1 - t) / static_cast<double>(train_steps);
    schedule.alpha_bars_.push_back(alpha * alpha);
  }
  return schedule;
}

double NoiseSchedule::alpha(int64_t t) const {
  if (is_flow_) return static_cast<double>(size() - 1 - t) / static_cast<double>(size());
  return std::sqrt(alpha_bars_[t]);
}

double NoiseSchedule::sigma(int64_t t) const {
  if (is_flow_) return static_cast<double>(t + 1) / static_cast<double>(size());
  return std::sqrt(1 - alpha_bars_[t]);
}

NoiseSchedule NoiseSchedule::WithoutZeroSnr() const {
  NoiseSchedule schedule = *this;
  if (has_zero_snr()) schedule.alpha_bars_.back() = 0x1p-24;
  return schedule;
}

}  // namespace denoise
