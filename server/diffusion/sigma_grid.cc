#include "server/diffusion/sigma_grid.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/diffusion/beta_quantile.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

constexpr double kKarrasExponent = 7;
constexpr double kBetaShape = 0.6;

float SigmaAt(const NoiseSchedule& schedule, int64_t t) {
  const auto alpha_bar = static_cast<float>(schedule.alpha_bar(t));
  return std::sqrt((1.0F - alpha_bar) / alpha_bar);
}

std::vector<float> SigmasOf(const NoiseSchedule& schedule) {
  std::vector<float> sigmas(schedule.size());
  for (int64_t t = 0; t < schedule.size(); ++t) sigmas[t] = SigmaAt(schedule, t);
  return sigmas;
}

// Linear between the values at whole times.
double Interpolate(const std::vector<float>& values, double t) {
  const auto below = static_cast<size_t>(t);
  if (below + 1 >= values.size()) return values.back();
  const double slope = static_cast<double>(values[below + 1]) - values[below];
  return slope * (t - static_cast<double>(below)) + values[below];
}

// The inverse of Interpolate, for ascending values. The last may be less than those before it, as
// the 2⁻²⁴ of NoiseSchedule::WithoutZeroSnr can be: then it counts from there up.
double TimeOf(double value, const std::vector<float>& values) {
  if (values.size() == 1) return 0;
  const auto above =
      value >= values.back() ? values.end() : std::upper_bound(values.begin(), values.end(), value);
  const int64_t below =
      std::clamp<int64_t>(above - values.begin() - 1, 0, static_cast<int64_t>(values.size()) - 2);
  const double low = values[below];
  const double high = values[below + 1];
  const double weight = std::clamp((low - value) / (low - high), 0.0, 1.0);
  return (1 - weight) * static_cast<double>(below) + weight * static_cast<double>(below + 1);
}

// Solvers divide by the distance of levels, which for a schedule of extremely small betas, or
// bounds next to each other, may be nothing in float32.
absl::StatusOr<std::vector<TimeAndSigma>> Descending(absl::string_view field,
                                                     std::vector<TimeAndSigma> points) {
  for (size_t i = 1; i < points.size(); ++i) {
    if (points[i].sigma < points[i - 1].sigma) continue;
    return FieldError(
        field, absl::StrCat(points.size(), " steps make noise levels coincide at sigma/alpha ",
                            points[i].sigma, "; ask for fewer steps"));
  }
  return points;
}

}  // namespace

double CurveAt(Sigmas curve, double min, double max, double u) {
  switch (curve) {
    case Sigmas::kSchedule:
      break;  // No curve.
    case Sigmas::kKarras: {
      const double min_root = std::pow(min, 1 / kKarrasExponent);
      const double max_root = std::pow(max, 1 / kKarrasExponent);
      return std::pow(max_root + u * (min_root - max_root), kKarrasExponent);
    }
    case Sigmas::kExponential:
      return std::exp(std::log(max) + u * (std::log(min) - std::log(max)));
    case Sigmas::kBeta:
      return min + SymmetricBetaQuantile(1 - u, kBetaShape) * (max - min);
  }
  return max;
}

double FirstSigma(const NoiseSchedule& schedule) { return SigmaAt(schedule, 0); }

absl::StatusOr<std::vector<TimeAndSigma>> SigmasAt(const NoiseSchedule& schedule,
                                                   const std::vector<float>& times) {
  const std::vector<float> sigmas = SigmasOf(schedule);
  std::vector<TimeAndSigma> points;
  points.reserve(times.size());
  for (const float time : times) {
    points.push_back({time, static_cast<float>(Interpolate(sigmas, time))});
  }
  return Descending("sampler.timesteps", std::move(points));
}

absl::StatusOr<std::vector<TimeAndSigma>> MakeSigmaGrid(const NoiseSchedule& schedule,
                                                        const SigmaGridOptions& options) {
  const absl::StatusOr<std::vector<double>> times = GridTimes(
      options.grid, options.spacing, schedule.size(), options.steps, options.steps_offset);
  if (!times.ok()) return times.status();
  const std::vector<float> sigmas = SigmasOf(schedule);
  std::vector<TimeAndSigma> points;
  points.reserve(times->size());
  if (options.sigmas == Sigmas::kSchedule) {
    for (const double time : *times) {
      points.push_back({time, static_cast<float>(Interpolate(sigmas, time))});
    }
    return Descending("sampler.steps", std::move(points));
  }

  const bool whole = options.grid == TimeGrid::kIntervals;
  const double min =
      options.sigma_min.value_or(whole ? sigmas.front() : Interpolate(sigmas, times->back()));
  const double max =
      options.sigma_max.value_or(whole ? sigmas.back() : Interpolate(sigmas, times->front()));
  if (options.steps > 1 && !(min < max)) {
    return FieldError("sampler.sigmas",
                      absl::StrCat(Name(options.sigmas), " has no room between sigma_min ", min,
                                   " and sigma_max ", max,
                                   " of the model's scheduler_config.json; choose schedule"));
  }
  std::vector<float> logs(sigmas.size());
  std::transform(sigmas.begin(), sigmas.end(), logs.begin(),
                 [](float sigma) { return std::log(sigma); });
  for (int64_t i = 0; i < options.steps; ++i) {
    const double u =
        options.steps > 1 ? static_cast<double>(i) / static_cast<double>(options.steps - 1) : 0;
    const double sigma = CurveAt(options.sigmas, min, max, u);
    double time = TimeOf(std::log(sigma), logs);
    if (whole) {
      const bool round = options.sigmas == Sigmas::kKarras && options.round_karras_times;
      time = round ? std::nearbyint(time) : std::floor(time);
    }
    points.push_back({static_cast<float>(time), static_cast<float>(sigma)});
  }
  return Descending("sampler.steps", std::move(points));
}

}  // namespace denoise
