// DPM-Solver++ with several steps' x̂0. Lu et al. 2022, "DPM-Solver++: Fast Solver for Guided
// Sampling of Diffusion Probabilistic Models", algorithm 2 (2M) and equation 9 to order 3 (3M);
// the SDE form is its appendix B's sde-dpmsolver++(2M).
#include <algorithm>
#include <cmath>

#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

int OrderAt(const SamplerSettings& settings, int order, size_t i) {
  const size_t steps = settings.points.size() - 1;
  const bool lower_at_end = settings.lower_order_final && settings.steps < 15;
  const bool to_zero = settings.points.back().level.ratio == 0;
  int most = order;
  if (i + 1 == steps && (settings.euler_at_final || lower_at_end || to_zero)) most = 1;
  if (i + 2 == steps && lower_at_end) most = 2;
  return static_cast<int>(std::min({static_cast<size_t>(order), static_cast<size_t>(most), i + 1}));
}

// λ' - λ; infinite to the level without noise.
double StepInLambda(const GridPoint& from, const GridPoint& to) {
  return std::log(from.level.ratio / to.level.ratio);
}

// Weights of x̂0's divided differences: x' = … + (of_value D0 + of_slope D1 + of_curvature D2).
struct Weights {
  double of_value;
  double of_slope;
  double of_curvature;
};

// `k` is 1 for the ODE, 2 for the SDE, whose noise doubles the rate at which x is forgotten.
Weights WeightsOf(double alpha_to, double h, double k, int order, SolverType type) {
  const double forgotten = -std::expm1(-k * h);  // 1 - e^{-kh}
  Weights weights{.of_value = alpha_to * forgotten, .of_slope = 0, .of_curvature = 0};
  if (order == 1) return weights;
  const double mean = forgotten / (k * h);
  const bool exact = order == 3 || type == SolverType::kHeun;
  weights.of_slope = alpha_to * (exact ? 1 - mean : forgotten / 2);
  if (order == 3) weights.of_curvature = alpha_to * (0.5 - (1 - mean) / h);
  return weights;
}

absl::Status FillRows(const SamplerSettings& settings, int order, bool sde, Table* table) {
  table->registers = order;  // x, and the x̂0 of order - 1 rows before.
  for (size_t i = 0; i + 1 < settings.points.size(); ++i) {
    const GridPoint& from = settings.points[i];
    const GridPoint& to = settings.points[i + 1];
    const double h = StepInLambda(from, to);
    // No step at all, where a curve of sigmas ends at sigma_min already.
    const int order_here = h == 0 ? 1 : OrderAt(settings, order, i);
    const double kept = to.level.ratio / from.level.ratio;  // e^{-h}
    const Weights weights =
        WeightsOf(to.level.alpha, h, sde ? 2 : 1, order_here, settings.solver_type);

    Row row = DenoiseRow(settings, from.time, from.level);
    auto& x = row.w[kColX];
    x[kColX] = to.level.sigma / from.level.sigma * (sde ? kept : 1);
    x[kColX0] = weights.of_value;
    if (sde) {
      // Drawn on the last row too, where it has no weight, as diffusers does.
      row.noise = true;
      x[kColZ] = to.level.sigma * std::sqrt(1 - kept * kept);
    }
    // With m0 = x̂0, m1 = h1, m2 = h2: D1 and D2 are what the parabola through them has at m0.
    if (order_here >= 2) {
      const double r0 = StepInLambda(settings.points[i - 1], from) / h;
      double of_first = weights.of_slope / r0;  // Weight of m0 - m1.
      if (order_here == 3) {
        const double r1 = StepInLambda(settings.points[i - 2], settings.points[i - 1]) / h;
        // D1 = d0 + r0/(r0+r1) (d0 - d1), D2 = (d0 - d1)/(r0+r1), d0 = (m0-m1)/r0, d1 = (m1-m2)/r1.
        const double of_difference = (weights.of_slope * r0 + weights.of_curvature) / (r0 + r1);
        of_first += of_difference / r0;
        const double of_second = -of_difference / r1;  // Weight of m1 - m2.
        x[kColH1] += of_second;
        x[kColH2] -= of_second;
      }
      x[kColX0] += of_first;
      x[kColH1] -= of_first;
    }
    if (order >= 2) row.w[kColH1][kColX0] = 1;
    if (order >= 3) row.w[kColH2][kColH1] = 1;
    row.step = static_cast<uint32_t>(i + 1);
    SetState(to.time, to.level, &row);
    table->rows.push_back(row);
  }
  return absl::OkStatus();
}

// A file's solver_order of 1 makes even these of first order; one of 3 has a sampler of its own.
int SecondOrLess(const SamplerSettings& settings) { return std::min(settings.order, 2); }

absl::Status Fill2M(const SamplerSettings& settings, Table* table) {
  return FillRows(settings, SecondOrLess(settings), /*sde=*/false, table);
}

absl::Status FillSde2M(const SamplerSettings& settings, Table* table) {
  return FillRows(settings, SecondOrLess(settings), /*sde=*/true, table);
}

absl::Status Fill3M(const SamplerSettings& settings, Table* table) {
  return FillRows(settings, 3, /*sde=*/false, table);
}

constexpr SamplerSpec Spec(SamplerKind kind, absl::string_view name,
                           absl::Status (*fill)(const SamplerSettings&, Table*),
                           absl::string_view without_noise = "") {
  return {
      .kind = kind,
      .name = name,
      .class_name = "DPMSolverMultistepScheduler",
      .spacing = Spacing::kLinspace,
      .takes_sigmas = true,
      .uses_thresholding = true,
      .uses_sigmas = true,
      .uses_final_sigma = true,
      .without_noise = without_noise,
      .grid = TimeGrid::kIntervals,
      .flow_grid = FlowGrid::kDpmSolver,
      .rounds_cosine_times = false,
      .fill = fill,
  };
}

}  // namespace

const SamplerSpec kDpmpp2M = Spec(SamplerKind::kDpmpp2M, "dpmpp_2m", &Fill2M);
const SamplerSpec kSdeDpmpp2M =
    Spec(SamplerKind::kSdeDpmpp2M, "sde_dpmpp_2m", &FillSde2M, "dpmpp_2m");
const SamplerSpec kDpmpp3M = Spec(SamplerKind::kDpmpp3M, "dpmpp_3m", &Fill3M);

}  // namespace denoise
