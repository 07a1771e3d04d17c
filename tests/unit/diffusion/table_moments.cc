#include "tests/unit/diffusion/table_moments.h"

#include <algorithm>
#include <cmath>

namespace denoise {

double RunRow(const Row& row, double out, double o2, double z, Registers* registers) {
  double x0 = row.denoise ? row.p * (*registers)[0] + row.q * out : 0;
  if (row.clip) x0 = std::clamp(x0, -row.clip_range, row.clip_range);
  if (row.threshold) {
    // Every quantile of one number is that number.
    const double s = std::clamp(std::abs(x0), 1.0, row.threshold_max);
    x0 = std::clamp(x0, -s, s) / s;
  }
  switch (row.variance) {
    case RowVariance::kNone:
      break;
    case RowVariance::kLearned:
      z *= std::exp(0.5 * o2);
      break;
    case RowVariance::kLearnedRange: {
      const double f = (o2 + 1) / 2;
      z *= std::exp(0.5 * (f * row.log_var_max + (1 - f) * row.log_var_min));
      break;
    }
  }
  std::array<double, kNumColumns> columns;
  std::copy(registers->begin(), registers->end(), columns.begin());
  columns[kColOut] = out;
  columns[kColX0] = x0;
  columns[kColZ] = z;
  Registers after{};
  for (int r = 0; r < kMaxRegisters; ++r) {
    for (int c = 0; c < kNumColumns; ++c) {
      if (row.w[r][c] != 0) after[r] += row.w[r][c] * columns[c];
    }
  }
  *registers = after;
  return x0;
}

double GaussianData::PosteriorMean(const Level& level, double x) const {
  return (mean * level.variance + level.alpha * variance * x) / VarianceAt(level);
}

double GaussianData::PosteriorVariance(const Level& level) const {
  return variance * level.variance / VarianceAt(level);
}

double GaussianData::Denoiser(Prediction prediction, const Level& level, double x) const {
  const double x0 = PosteriorMean(level, x);
  const double epsilon = (x - level.alpha * x0) / level.sigma;
  switch (prediction) {
    case Prediction::kEpsilon:
      return epsilon;
    case Prediction::kV:
      return level.alpha * epsilon - level.sigma * x0;
    case Prediction::kSample:
      return x0;
    case Prediction::kFlow:
      return epsilon - x0;
  }
  return 0;
}

Level StateLevel(const Row& row) {
  return Level::FromRatio(row.state_sigma / std::sqrt(row.state_alpha_bar));
}

double FlowError(const Table& table, Prediction prediction) {
  const GaussianData data = {.mean = 0.3, .variance = 0.25};
  Level level(table.initial_alpha_bar);
  Registers registers;
  registers.fill(1.7);
  const double kept = (1.7 - data.MeanAt(level)) / std::sqrt(data.VarianceAt(level));
  double error = 0;
  for (const Row& row : table.rows) {
    RunRow(row, data.Denoiser(prediction, level, registers[0]), 0, 0, &registers);
    level = StateLevel(row);
    if (!row.completes_step || level.ratio == 0) continue;
    const double exact = data.MeanAt(level) + kept * std::sqrt(data.VarianceAt(level));
    error = std::abs(registers[0] - exact);
  }
  return error;
}

Moments AllEqual(double mean, double variance) {
  Moments moments;
  moments.mean.fill(mean);
  for (Registers& row : moments.covariance) row.fill(variance);
  return moments;
}

Moments Advance(const Row& row, const std::function<double(double)>& denoiser, double o2,
                const Moments& before) {
  const auto run = [&](Registers registers, double z) {
    RunRow(row, row.denoise ? denoiser(registers[0]) : 0, o2, z, &registers);
    return registers;
  };
  // The columns of the affine map: after = constant + Σ slope[j] register[j] + noise z.
  const Registers constant = run({}, 0);
  const Registers noise_end = run({}, 1);
  std::array<Registers, kMaxRegisters> slope;
  for (int j = 0; j < kMaxRegisters; ++j) {
    Registers unit{};
    unit[j] = 1;
    slope[j] = run(unit, 0);
    for (int r = 0; r < kMaxRegisters; ++r) slope[j][r] -= constant[r];
  }
  Moments after;
  for (int r = 0; r < kMaxRegisters; ++r) {
    after.mean[r] = constant[r];
    for (int j = 0; j < kMaxRegisters; ++j) after.mean[r] += slope[j][r] * before.mean[j];
    for (int s = 0; s < kMaxRegisters; ++s) {
      double& covariance = after.covariance[r][s];
      if (row.noise) covariance = (noise_end[r] - constant[r]) * (noise_end[s] - constant[s]);
      for (int j = 0; j < kMaxRegisters; ++j) {
        for (int k = 0; k < kMaxRegisters; ++k) {
          covariance += slope[j][r] * before.covariance[j][k] * slope[k][s];
        }
      }
    }
  }
  return after;
}

}  // namespace denoise
