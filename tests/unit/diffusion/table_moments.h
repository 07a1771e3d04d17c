// Runs tables in double precision on one number, and on Gaussians exactly.
#ifndef DENOISE_TESTS_UNIT_DIFFUSION_TABLE_MOMENTS_H_
#define DENOISE_TESTS_UNIT_DIFFUSION_TABLE_MOMENTS_H_

#include <array>
#include <functional>

#include "server/diffusion/samplers/samplers.h"
#include "server/diffusion/scheduler_config.h"
#include "server/diffusion/table.h"

namespace denoise {

using Registers = std::array<double, kMaxRegisters>;

// What table.h says that a row means, on a sample of one number; `o2` is the denoiser's second
// channel. Returns x̂0.
double RunRow(const Row& row, double out, double o2, double z, Registers* registers);

// x_0 ~ N(mean, variance): the data for which everything is known in closed form.
struct GaussianData {
  double mean = 0;
  double variance = 1;

  double MeanAt(const Level& level) const { return level.alpha * mean; }
  double VarianceAt(const Level& level) const {
    return level.alpha_bar * variance + level.variance;
  }
  // E[x_0|x_t = x].
  double PosteriorMean(const Level& level, double x) const;
  // Var[x_0|x_t], the same for every x_t.
  double PosteriorVariance(const Level& level) const;
  // What the best denoiser answers at x_t = x.
  double Denoiser(Prediction prediction, const Level& level, double x) const;
};

// The level of a row's state; σ/α near 0 is lost in its ᾱ.
Level StateLevel(const Row& row);

// Of a deterministic chain of one number, where the data are Gaussian: the distance from the
// probability flow, which keeps (x - α mean)/√(α² variance + σ²), at the last level that has noise.
double FlowError(const Table& table, Prediction prediction);

// The first two moments of the registers.
struct Moments {
  Registers mean{};
  std::array<Registers, kMaxRegisters> covariance{};
};

// All registers equal, x ~ N(mean, variance).
Moments AllEqual(double mean, double variance);

// The moments after a row without clipping whose denoiser is affine in x (and whose o2 is
// constant): exact, as the row is affine then.
Moments Advance(const Row& row, const std::function<double(double)>& denoiser, double o2,
                const Moments& before);

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_DIFFUSION_TABLE_MOMENTS_H_
