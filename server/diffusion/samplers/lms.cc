// The linear multistep (Adams-Bashforth) method of order 4 for the probability flow in sigma/alpha,
// on uneven steps, as in k-diffusion.
#include <algorithm>
#include <array>
#include <cmath>

#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

constexpr size_t kOrder = 4;

// ∫ from s_i to s_{i+1} of the polynomial that is 1 at s_{i-k} and 0 at the other s_{i-j}, j <
// order.
double Coefficient(const std::vector<GridPoint>& points, size_t i, size_t order, size_t k) {
  const double begin = points[i].level.ratio;
  const double end = points[i + 1].level.ratio;
  // Gauss's rule of two nodes is exact up to degree 3.
  double sum = 0;
  for (const double node : {-1 / std::sqrt(3.0), 1 / std::sqrt(3.0)}) {
    const double s = (begin + end) / 2 + node * (end - begin) / 2;
    double product = 1;
    for (size_t j = 0; j < order; ++j) {
      if (j == k) continue;
      const double zero = points[i - j].level.ratio;
      product *= (s - zero) / (points[i - k].level.ratio - zero);
    }
    sum += product;
  }
  return sum * (end - begin) / 2;
}

// With D = (x/α - x̂0)/s, whose last values h1, h2, h3 keep:  x'/α' = x/α + Σ coefficient D.
absl::Status Fill(const SamplerSettings& settings, Table* table) {
  static_assert(kOrder <= kMaxRegisters);
  table->registers = kOrder;
  for (size_t i = 0; i + 1 < settings.points.size(); ++i) {
    const GridPoint& from = settings.points[i];
    const GridPoint& to = settings.points[i + 1];
    const size_t order = std::min(i + 1, kOrder);

    Row row = DenoiseRow(settings, from.time, from.level);
    auto& slope = row.w[kColH1];
    slope[kColX] = 1 / from.level.sigma;
    slope[kColX0] = -1 / from.level.ratio;
    row.w[kColH2][kColH1] = 1;
    row.w[kColH3][kColH2] = 1;

    auto& x = row.w[kColX];
    const double newest = to.level.alpha * Coefficient(settings.points, i, order, 0);
    x[kColX] = to.level.alpha / from.level.alpha + newest * slope[kColX];
    x[kColX0] = newest * slope[kColX0];
    for (size_t k = 1; k < order; ++k) {
      x[kColH1 + k - 1] = to.level.alpha * Coefficient(settings.points, i, order, k);
    }
    row.step = static_cast<uint32_t>(i + 1);
    SetState(to.time, to.level, &row);
    table->rows.push_back(row);
  }
  return absl::OkStatus();
}

}  // namespace

const SamplerSpec kLms = {
    .kind = SamplerKind::kLms,
    .name = "lms",
    .class_name = "LMSDiscreteScheduler",
    .spacing = Spacing::kLinspace,
    .takes_sigmas = true,
    .uses_sigmas = true,
    .grid = TimeGrid::kFractional,
    .scales_start = true,
    .fill = &Fill,
};

}  // namespace denoise
