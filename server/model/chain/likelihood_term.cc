// Compiled with -ffp-contract=off (see CMakeLists.txt): equal bits on every CPU.
#include "server/model/chain/likelihood_term.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

namespace denoise {
namespace {

constexpr double kMinMass = 1e-12;
// Values nearer to an end than this share of the range count as that end's level.
constexpr double kEnd = 0.0005;

float Noisy(const Term& term, float x_0, float z) {
  return static_cast<float>(term.alpha * x_0 + term.sigma * z);
}

double LogVariance(const Row& row, const Term& term, const float* out, int64_t n, int64_t i) {
  switch (row.variance) {
    case RowVariance::kNone:
      break;
    case RowVariance::kLearned:
      return out[n + i];
    case RowVariance::kLearnedRange: {
      const double f = (static_cast<double>(out[n + i]) + 1) / 2;
      return f * row.log_var_max + (1 - f) * row.log_var_min;
    }
  }
  return term.log_model_variance;
}

// Of a normal distribution's mass between two values given in its standard deviations. Taken from
// the side on which both values are, where erfc has all its digits.
double NormalMass(double low, double high) {
  if (low > 0) {
    std::swap(low, high);
    low = -low;
    high = -high;
  }
  constexpr double kRoot = std::numbers::sqrt2;
  return 0.5 * (std::erfc(-high / kRoot) - std::erfc(-low / kRoot));
}

class Discretised {
 public:
  explicit Discretised(const ValueLevels& levels)
      : half_width_((levels.max - levels.min) / static_cast<double>(levels.levels - 1) / 2),
        low_end_(levels.min + kEnd * (levels.max - levels.min)),
        high_end_(levels.max - kEnd * (levels.max - levels.min)) {}

  double Nats(double x_0, double mean, double log_variance) const {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const double per_deviation = std::exp(-0.5 * log_variance);
    const double low = x_0 < low_end_ ? -kInfinity : (x_0 - half_width_ - mean) * per_deviation;
    const double high = x_0 > high_end_ ? kInfinity : (x_0 + half_width_ - mean) * per_deviation;
    const double mass = NormalMass(low, high);
    // Written so that NaN stays.
    return -std::log(mass < kMinMass ? kMinMass : mass);
  }

 private:
  const double half_width_;
  const double low_end_;
  const double high_end_;
};

double GaussianNats(double difference, double log_posterior_variance, double log_variance) {
  const double ratio = log_posterior_variance - log_variance;
  return 0.5 * (std::exp(ratio) - 1 - ratio + difference * difference * std::exp(-log_variance));
}

}  // namespace

void MakeNoisy(const Term& term, int64_t n, const float* x_0, const float* z, float* x_t) {
  for (int64_t i = 0; i < n; ++i) x_t[i] = Noisy(term, x_0[i], z[i]);
}

bool ReduceTerm(const Row& row, const Term& term, const ValueLevels& levels, int64_t n,
                const TermInputs& in, TermValues* values) {
  const Discretised discretised(levels);
  bool finite = true;
  double nats = 0;
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double x_0 = in.x_0[i];
    const double x_t = Noisy(term, in.x_0[i], in.z[i]);
    double predicted = row.p * x_t + row.q * in.out[i];
    finite = finite && std::isfinite(predicted);  // clipping would hide an infinity
    if (row.clip) predicted = std::clamp(predicted, -row.clip_range, row.clip_range);
    const double error = x_0 - predicted;
    squares += error * error;
    const double log_variance = LogVariance(row, term, in.out, n, i);
    nats += term.discretised
                ? discretised.Nats(x_0, term.mean_of_x0 * predicted + term.mean_of_x * x_t,
                                   log_variance)
                : GaussianNats(term.mean_of_x0 * error, term.log_posterior_variance, log_variance);
  }
  values->nats = nats;
  values->x_0_mse = squares / static_cast<double>(n);
  // Of (x_t - alpha x̂0)/sigma.
  const double ratio = term.alpha / term.sigma;
  values->eps_mse = ratio * ratio * values->x_0_mse;
  return finite && std::isfinite(nats) && std::isfinite(squares);
}

}  // namespace denoise
