// UniPC, predicting x_0. Zhao et al. 2023, "UniPC: A Unified Predictor-Corrector Framework for Fast
// Sampling of Diffusion Models", algorithm 5 with B1 or B2, orders 1 to 3.
//
// A row's denoiser call serves twice: it corrects the x that the row before predicted, and from the
// corrected x predicts the next. Of the corrector's sum all but the new x̂0 is known when the row
// before runs, and is kept in h1; h2 and h3 are the x̂0 of the rows before.
#include <algorithm>
#include <array>
#include <cmath>

#include "server/diffusion/field_error.h"
#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

constexpr int kMaxOrder = 3;
using Vector = std::array<double, kMaxOrder>;
using Weights = std::array<double, kNumColumns>;

void Add(double factor, const Weights& weights, Weights* to) {
  for (int c = 0; c < kNumColumns; ++c) (*to)[c] += factor * weights[c];
}

// Solves Σ_j nodes[j]^i y[j] = right[i], i = 0 … count-1, for distinct nodes.
Vector SolveVandermonde(const Vector& nodes, Vector right, int count) {
  // Björck & Pereyra 1970 (Golub & Van Loan, Matrix Computations, algorithm 4.6.2).
  for (int k = 0; k + 1 < count; ++k) {
    for (int i = count - 1; i > k; --i) right[i] -= nodes[k] * right[i - 1];
  }
  for (int k = count - 2; k >= 0; --k) {
    for (int i = k + 1; i < count; ++i) right[i] /= nodes[i] - nodes[i - k - 1];
    for (int i = k; i + 1 < count; ++i) right[i] -= right[i + 1];
  }
  return right;
}

// The step of one row in half log-SNR.
struct Step {
  Step(double h, SolverType type)
      : phi(std::expm1(-h)), b(type == SolverType::kBh1 ? -h : phi), minus_h(-h) {}

  // Right sides of the order conditions: i! φ_{i+1}(-h) h / B(h), i = 1 … count.
  Vector Conditions(int count) const {
    Vector conditions{};
    double factorial = 1;
    double next_phi = phi / minus_h - 1;
    for (int i = 0; i < count; ++i) {
      conditions[i] = next_phi * factorial / b;
      factorial *= i + 2;
      next_phi = next_phi / minus_h - 1 / factorial;
    }
    return conditions;
  }

  double phi;  // e^{-h} - 1
  double b;    // B(h)
  double minus_h;
};

int OrderAt(const SamplerSettings& settings, size_t i) {
  const size_t left = settings.points.size() - 1 - i;
  size_t order = std::min(static_cast<size_t>(settings.order), i + 1);
  if (settings.lower_order_final) order = std::min(order, left);
  return static_cast<int>(order);
}

double Lambda(const GridPoint& point) { return -std::log(point.level.ratio); }

absl::Status Fill(const SamplerSettings& settings, Table* table) {
  const std::vector<GridPoint>& points = settings.points;
  const size_t steps = points.size() - 1;
  if (points.back().level.ratio == 0 && OrderAt(settings, steps - 1) > 1) {
    return FieldError("sampler.kind",
                      "unipc has no step of higher order to a level without noise: the model's "
                      "scheduler_config.json needs lower_order_final true or final_sigmas_type "
                      "sigma_min; choose another sampler, such as dpmpp_2m");
  }
  table->registers = settings.order + 1;
  double k = 0;  // Weight of this row's x̂0 in the correction.
  for (size_t i = 0; i < steps; ++i) {
    const GridPoint& from = points[i];
    const GridPoint& to = points[i + 1];
    Row row = DenoiseRow(settings, from.time, from.level);
    row.step = static_cast<uint32_t>(i + 1);
    SetState(to.time, to.level, &row);
    Weights corrected{};
    corrected[i == 0 ? kColX : kColH1] = 1;
    corrected[kColX0] = k;
    const double h = Lambda(to) - Lambda(from);
    if (h == 0) {  // A curve of sigmas that ends at sigma_min already; only ever the last row.
      row.w[kColX] = corrected;
      table->rows.push_back(row);
      continue;
    }

    const int order = OrderAt(settings, i);
    const Step step(h, settings.solver_type);
    Weights base{};
    Add(to.level.sigma / from.level.sigma, corrected, &base);
    base[kColX0] -= to.level.alpha * step.phi;

    // Differences (x̂0 of j rows before - x̂0)/r_j, and the nodes r_j of the conditions.
    std::array<Weights, kMaxOrder> differences{};
    Vector nodes{};
    for (int j = 1; j < order; ++j) {
      nodes[j - 1] = (Lambda(points[i - j]) - Lambda(from)) / h;
      differences[j - 1][j == 1 ? kColH2 : kColH3] = 1 / nodes[j - 1];
      differences[j - 1][kColX0] = -1 / nodes[j - 1];
    }
    nodes[order - 1] = 1;

    row.w[kColX] = base;
    if (order > 1) {
      // For order 2 the paper and diffusers take ½ instead of solving.
      const Vector rho =
          order == 2 ? Vector{0.5} : SolveVandermonde(nodes, step.Conditions(order), order - 1);
      for (int j = 0; j + 1 < order; ++j) {
        Add(-to.level.alpha * step.b * rho[j], differences[j], &row.w[kColX]);
      }
    }
    if (i + 1 < steps) {
      const Vector rho =
          order == 1 ? Vector{0.5} : SolveVandermonde(nodes, step.Conditions(order), order);
      row.w[kColH1] = base;
      for (int j = 0; j + 1 < order; ++j) {
        Add(-to.level.alpha * step.b * rho[j], differences[j], &row.w[kColH1]);
      }
      k = -to.level.alpha * step.b * rho[order - 1];
      row.w[kColH1][kColX0] -= k;
      if (settings.order > 1) row.w[kColH2][kColX0] = 1;
      if (settings.order > 2) row.w[kColH3][kColH2] = 1;
    }
    table->rows.push_back(row);
  }
  return absl::OkStatus();
}

}  // namespace

const SamplerSpec kUniPc = {
    .kind = SamplerKind::kUniPc,
    .name = "unipc",
    .class_name = "UniPCMultistepScheduler",
    .spacing = Spacing::kLinspace,
    .takes_sigmas = true,
    .uses_thresholding = true,
    .uses_sigmas = true,
    .uses_final_sigma = true,
    .grid = TimeGrid::kIntervals,
    .flow_grid = FlowGrid::kUniPc,
    .repeats_last_level = true,
    .fill = &Fill,
};

}  // namespace denoise
