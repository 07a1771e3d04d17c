#include "server/diffusion/beta_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "server/diffusion/noise_schedule.h"

namespace denoise {
namespace {

// Element i of `count` values evenly from `start` to `end`, both included.
double Even(double start, double end, int64_t i, int64_t count) {
  if (count == 1) return start;
  return start + (end - start) * static_cast<double>(i) / static_cast<double>(count - 1);
}

double CosineAlphaBar(double u) {
  const double cosine = std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2);
  return cosine * cosine;
}

double Beta(BetaSchedule schedule, int64_t i, int64_t count, double start, double end) {
  switch (schedule) {
    case BetaSchedule::kLinear:
      return Even(start, end, i, count);
    case BetaSchedule::kScaledLinear: {
      const double root = Even(std::sqrt(start), std::sqrt(end), i, count);
      return root * root;
    }
    case BetaSchedule::kSquaredCosCapV2: {
      const auto total = static_cast<double>(count);
      const double before = CosineAlphaBar(static_cast<double>(i) / total);
      const double after = CosineAlphaBar(static_cast<double>(i + 1) / total);
      return std::min(1 - after / before, 0.999);
    }
    case BetaSchedule::kSigmoid:
      return start + (end - start) / (1 + std::exp(-Even(-6, 6, i, count)));
  }
  return 0;
}

}  // namespace

std::vector<double> MakeBetas(BetaSchedule schedule, int64_t train_steps, double start,
                              double end) {
  std::vector<double> betas(train_steps);
  for (int64_t i = 0; i < train_steps; ++i) {
    betas[i] = static_cast<float>(Beta(schedule, i, train_steps, start, end));
  }
  return betas;
}

std::vector<double> RescaleToZeroSnr(const std::vector<double>& betas) {
  const NoiseSchedule before(betas);
  std::vector<float> roots;
  for (const double alpha_bar : before.alpha_bars()) {
    roots.push_back(std::sqrt(static_cast<float>(alpha_bar)));
  }
  const float last = roots.back();
  const float scale = roots.front() / (roots.front() - last);
  std::vector<double> rescaled;
  float alpha_bar_before = 1;
  for (const float root : roots) {
    const float shifted = (root - last) * scale;
    const float alpha_bar = shifted * shifted;
    rescaled.push_back(1.0F - alpha_bar / alpha_bar_before);
    alpha_bar_before = alpha_bar;
  }
  return rescaled;
}

}  // namespace denoise
