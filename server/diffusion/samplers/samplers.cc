#include "server/diffusion/samplers/samplers.h"

#include <array>
#include <cmath>
#include <vector>

#include "server/diffusion/sampler.h"

namespace denoise {

absl::Span<const SamplerSpec* const> Samplers() {
  static constexpr std::array kSamplers = {&kDdpm,  &kDdim,    &kEuler,      &kEulerAncestral,
                                           &kHeun,  &kDpmpp2M, &kSdeDpmpp2M, &kDpmpp3M,
                                           &kUniPc, &kLms,     &kPndm,       &kDeis};
  return kSamplers;
}

std::vector<SamplerKind> AllSamplers() {
  std::vector<SamplerKind> kinds;
  for (const SamplerSpec* spec : Samplers()) kinds.push_back(spec->kind);
  return kinds;
}

const SamplerSpec& SpecOf(SamplerKind kind) {
  for (const SamplerSpec* spec : Samplers()) {
    if (spec->kind == kind) return *spec;
  }
  // Unreachable: every SamplerKind has its entry (a test goes through them).
  return kDdpm;
}

Level::Level(double alpha_bar)
    : alpha_bar(alpha_bar),
      alpha(std::sqrt(alpha_bar)),
      variance(1 - alpha_bar),
      sigma(std::sqrt(1 - alpha_bar)),
      ratio(sigma / alpha) {}

Level Level::FromRatio(double ratio) {
  const double square = ratio * ratio;
  Level level(1 / (1 + square));
  level.variance = square / (1 + square);
  level.sigma = ratio * level.alpha;
  level.ratio = ratio;
  return level;
}

int64_t TimeAfter(const SamplerSettings& settings, size_t i) {
  if (!settings.custom_times) return settings.times[i] - settings.schedule.size() / settings.steps;
  return i + 1 < settings.times.size() ? settings.times[i + 1] : -1;
}

Form PredictedX0(Prediction prediction, const Level& level) {
  switch (prediction) {
    case Prediction::kEpsilon:
      return {.x = 1 / level.alpha, .out = -level.sigma / level.alpha};
    case Prediction::kV:
      return {.x = level.alpha, .out = -level.sigma};
    case Prediction::kSample:
      return {.out = 1};
    case Prediction::kFlow:
      return {.x = 1, .out = -level.sigma};
  }
  return {};
}

Form PredictedEpsilon(Prediction prediction, const Level& level) {
  switch (prediction) {
    case Prediction::kEpsilon:
      return {.out = 1};
    case Prediction::kV:
      return {.x = level.sigma, .out = level.alpha};
    case Prediction::kSample:
      return {.x = 1 / level.sigma, .out = -level.alpha / level.sigma};
    case Prediction::kFlow:
      return {.x = 1, .out = level.alpha};
  }
  return {};
}

Form EpsilonFromX0(const Level& level) {
  return {.x = 1 / level.sigma, .x0 = -level.alpha / level.sigma};
}

Row DenoiseRow(const SamplerSettings& settings, double t, const Level& level) {
  const Form x0 = PredictedX0(settings.prediction, level);
  Row row;
  row.timestep = t;
  row.noise_ratio = level.ratio;
  row.p = x0.x;
  row.q = x0.out;
  row.clip = settings.clip;
  row.clip_range = settings.clip_range;
  return row;
}

void SetState(double t, const Level& level, Row* row) {
  row->state_timestep = t;
  row->state_alpha_bar = level.alpha_bar;
  row->state_sigma = level.sigma;
}

}  // namespace denoise
