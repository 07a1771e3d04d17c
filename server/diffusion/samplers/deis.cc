// DEIS in log ρ, ρ = σ/α. Zhang & Chen 2023, "Fast Sampling of Diffusion Models with Exponential
// Integrator", equation 15 with the change of variable of its appendix, orders 1 to 3.
#include <algorithm>
#include <array>
#include <cmath>

#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

constexpr size_t kMaxOrder = 3;

size_t OrderAt(const SamplerSettings& settings, size_t i) {
  const size_t left = settings.points.size() - 1 - i;
  size_t order = std::min(static_cast<size_t>(settings.order), i + 1);
  if (settings.lower_order_final && settings.steps < 15) order = std::min(order, left);
  return order;
}

// ∫ from ρ_i to ρ_{i+1} of the polynomial in log ρ that is 1 at ρ_{i-k} and 0 at the other
// ρ_{i-j}, j < order.
double Coefficient(const std::vector<GridPoint>& points, size_t i, size_t order, size_t k) {
  const double origin = std::log(points[i].level.ratio);
  // In u = log ρ - origin: the polynomial's coefficients, ascending.
  std::array<double, kMaxOrder> polynomial = {1};
  for (size_t j = 0; j < order; ++j) {
    if (j == k) continue;
    const double zero = std::log(points[i - j].level.ratio) - origin;
    const double scale = std::log(points[i - k].level.ratio) - origin - zero;
    for (size_t d = kMaxOrder - 1; d > 0; --d) {
      polynomial[d] = (polynomial[d - 1] - zero * polynomial[d]) / scale;
    }
    polynomial[0] *= -zero / scale;
  }
  // ∫ u^d dρ = ρ u^d - d ∫ u^{d-1} dρ, from u = 0.
  const double begin = points[i].level.ratio;
  const double end = points[i + 1].level.ratio;
  const double u = std::log(end) - origin;
  double power = 1;
  double integral = end - begin;
  double sum = polynomial[0] * integral;
  for (size_t d = 1; d < order; ++d) {
    power *= u;
    integral = end * power - static_cast<double>(d) * integral;
    sum += polynomial[d] * integral;
  }
  return sum;
}

// x'/α' = x/α + Σ coefficient ε, where h1 and h2 keep the ε of the rows before. The chain ends at
// sigma_min: log 0 is not a place.
absl::Status Fill(const SamplerSettings& settings, Table* table) {
  table->registers = settings.order;
  for (size_t i = 0; i + 1 < settings.points.size(); ++i) {
    const GridPoint& from = settings.points[i];
    const GridPoint& to = settings.points[i + 1];
    const size_t order = OrderAt(settings, i);
    const Form epsilon = EpsilonFromX0(from.level);

    Row row = DenoiseRow(settings, from.time, from.level);
    auto& x = row.w[kColX];
    const double newest = to.level.alpha * Coefficient(settings.points, i, order, 0);
    x[kColX] = to.level.alpha / from.level.alpha + newest * epsilon.x;
    x[kColX0] = newest * epsilon.x0;
    for (size_t k = 1; k < order; ++k) {
      x[kColH1 + k - 1] = to.level.alpha * Coefficient(settings.points, i, order, k);
    }
    if (settings.order > 1) {
      row.w[kColH1][kColX] = epsilon.x;
      row.w[kColH1][kColX0] = epsilon.x0;
    }
    if (settings.order > 2) row.w[kColH2][kColH1] = 1;
    row.step = static_cast<uint32_t>(i + 1);
    SetState(to.time, to.level, &row);
    table->rows.push_back(row);
  }
  return absl::OkStatus();
}

}  // namespace

const SamplerSpec kDeis = {
    .kind = SamplerKind::kDeis,
    .name = "deis",
    .class_name = "DEISMultistepScheduler",
    .spacing = Spacing::kLinspace,
    .final_sigma = FinalSigma::kSigmaMin,
    .takes_sigmas = true,
    .uses_thresholding = true,
    .uses_sigmas = true,
    .grid = TimeGrid::kIntervals,
    .flow_grid = FlowGrid::kDeis,
    .repeats_last_level = true,
    .fill = &Fill,
};

}  // namespace denoise
