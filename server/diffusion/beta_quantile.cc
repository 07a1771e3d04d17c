#include "server/diffusion/beta_quantile.h"

#include <cmath>

namespace denoise {
namespace {

// P(X ≤ x) for x ≤ ½, where the continued fraction of the incomplete beta function converges
// quickly (DLMF 8.17.22, evaluated from its end).
double LowerProbability(double x, double shape) {
  constexpr int kTerms = 60;
  double fraction = 1;
  for (int i = kTerms; i >= 1; --i) {
    const double m = i / 2;  // NOLINT(bugprone-integer-division): ⌊i/2⌋
    const double denominator = (shape + i - 1) * (shape + i);
    const double term = i % 2 == 0 ? m * (shape - m) * x / denominator
                                   : -(shape + m) * (2 * shape + m) * x / denominator;
    fraction = 1 + term / fraction;
  }
  const double log_beta = 2 * std::lgamma(shape) - std::lgamma(2 * shape);
  return std::exp(shape * (std::log(x) + std::log1p(-x)) - log_beta) / (shape * fraction);
}

}  // namespace

double SymmetricBetaQuantile(double p, double shape) {
  if (p > 0.5) return 1 - SymmetricBetaQuantile(1 - p, shape);
  if (p <= 0) return 0;
  // P is about x^shape near 0, so that bisection in log x keeps relative precision there.
  double low = (std::log(p) - 40) / shape;
  double high = std::log(0.5);
  for (int i = 0; i < 80; ++i) {
    const double middle = (low + high) / 2;
    (LowerProbability(std::exp(middle), shape) < p ? low : high) = middle;
  }
  return std::exp((low + high) / 2);
}

}  // namespace denoise
