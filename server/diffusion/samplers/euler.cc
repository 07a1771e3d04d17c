// Euler's method for the probability flow in sigma/alpha, and its ancestral form. Karras et al.
// 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", algorithm 1 without
// and with noise; the ancestral split of the step is k-diffusion's. For a flow model it is Euler's
// method in sigma itself, as x/α moves along the same line (Lipman et al. 2023, "Flow Matching for
// Generative Modeling").
#include <cmath>

#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

// x/α ← x/α + (down - s)(x/α - x̂0)/s, then noise of deviation `up` (of the process x/α).
Row EulerRow(const SamplerSettings& settings, size_t i, double down, double up) {
  const GridPoint& from = settings.points[i];
  const GridPoint& to = settings.points[i + 1];
  const double kept = down / from.level.ratio;
  // The sample itself is x/α, as in diffusers; the two differ where the last sigma is not 0.
  const double alpha_to = i + 2 == settings.points.size() ? 1 : to.level.alpha;
  Row row = DenoiseRow(settings, from.time, from.level);
  auto& x = row.w[kColX];
  x[kColX] = down * alpha_to / from.level.sigma;
  x[kColX0] = (1 - kept) * alpha_to;
  x[kColZ] = up * alpha_to;
  row.step = static_cast<uint32_t>(i + 1);
  SetState(to.time, to.level, &row);
  return row;
}

absl::Status Fill(const SamplerSettings& settings, Table* table) {
  for (size_t i = 0; i + 1 < settings.points.size(); ++i) {
    table->rows.push_back(EulerRow(settings, i, settings.points[i + 1].level.ratio, 0));
  }
  return absl::OkStatus();
}

absl::Status FillAncestral(const SamplerSettings& settings, Table* table) {
  for (size_t i = 0; i + 1 < settings.points.size(); ++i) {
    // Down to s'²/s, and up again by what is missing to s': the forward process's posterior.
    const double to = settings.points[i + 1].level.ratio;
    const double shrunk = to / settings.points[i].level.ratio;
    // A flow model all the way down, as in diffusers: x' is x̂0 with fresh noise.
    Row row = settings.prediction == Prediction::kFlow
                  ? EulerRow(settings, i, 0, to)
                  : EulerRow(settings, i, to * shrunk, to * std::sqrt(1 - shrunk * shrunk));
    // Drawn on the last row too, where it has no weight, as diffusers does.
    row.noise = true;
    table->rows.push_back(row);
  }
  return absl::OkStatus();
}

}  // namespace

const SamplerSpec kEuler = {
    .kind = SamplerKind::kEuler,
    .name = "euler",
    .class_name = "EulerDiscreteScheduler",
    .spacing = Spacing::kLinspace,
    .takes_sigmas = true,
    .uses_sigmas = true,
    .uses_final_sigma = true,
    .repeatable = true,
    .grid = TimeGrid::kFractional,
    .flow_grid = FlowGrid::kEuler,
    .scales_start = true,
    .fill = &Fill,
};

const SamplerSpec kEulerAncestral = {
    .kind = SamplerKind::kEulerAncestral,
    .name = "euler_ancestral",
    .class_name = "EulerAncestralDiscreteScheduler",
    .spacing = Spacing::kLinspace,
    .takes_sigmas = true,
    .repeatable = true,
    .without_noise = "euler",
    .grid = TimeGrid::kFractional,
    .flow_grid = FlowGrid::kEuler,
    .scales_start = true,
    .fill = &FillAncestral,
};

}  // namespace denoise
