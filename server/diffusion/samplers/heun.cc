// Heun's method for the probability flow in sigma/alpha. Karras et al. 2022, "Elucidating the
// Design Space of Diffusion-Based Generative Models", algorithm 1 without noise.
#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

// With X = x/α, s = σ/α and d = s'-s, a step is
//
//   X_p = X + d (X - x̂0)/s                                       the predictor's row
//   X'  = X + d/2 ((X - x̂0)/s + (X_p - x̂0(X_p, s'))/s')          the corrector's
//
// h1 keeps X + d/2 (X - x̂0)/s from the one to the other. A step to s' = 0 is the predictor alone.
absl::Status Fill(const SamplerSettings& settings, Table* table) {
  table->registers = 2;
  for (size_t i = 0; i + 1 < settings.points.size(); ++i) {
    const GridPoint& from = settings.points[i];
    const GridPoint& to = settings.points[i + 1];
    const double s = from.level.ratio;
    const double d = to.level.ratio - s;

    Row predictor = DenoiseRow(settings, from.time, from.level);
    predictor.w[kColX][kColX] = (1 + d / s) * to.level.alpha / from.level.alpha;
    predictor.w[kColX][kColX0] = -d / s * to.level.alpha;
    predictor.w[kColH1][kColX] = (1 + d / (2 * s)) / from.level.alpha;
    predictor.w[kColH1][kColX0] = -d / (2 * s);
    predictor.step = static_cast<uint32_t>(i + 1);
    SetState(to.time, to.level, &predictor);
    predictor.completes_step = to.level.ratio == 0;
    table->rows.push_back(predictor);
    if (predictor.completes_step) continue;

    const double slope = d / (2 * to.level.ratio);
    Row corrector = DenoiseRow(settings, to.time, to.level);
    corrector.w[kColX][kColH1] = to.level.alpha;
    corrector.w[kColX][kColX] = slope;
    corrector.w[kColX][kColX0] = -slope * to.level.alpha;
    corrector.step = predictor.step;
    SetState(to.time, to.level, &corrector);
    table->rows.push_back(corrector);
  }
  return absl::OkStatus();
}

}  // namespace

const SamplerSpec kHeun = {
    .kind = SamplerKind::kHeun,
    .name = "heun",
    .class_name = "HeunDiscreteScheduler",
    .beta_start = 0.00085,
    .beta_end = 0.012,
    .spacing = Spacing::kLinspace,
    .takes_sigmas = true,
    .uses_clip_sample = true,
    .uses_sigmas = true,
    .grid = TimeGrid::kFractional,
    .scales_start = true,
    .fill = &Fill,
};

}  // namespace denoise
