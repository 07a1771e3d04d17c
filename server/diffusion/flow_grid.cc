#include "server/diffusion/flow_grid.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/sigma_grid.h"
#include "server/diffusion/time_grid.h"

namespace denoise {
namespace {

// Names of the samplers of flow models.
std::string FlowSamplers() {
  std::vector<absl::string_view> names;
  for (const SamplerSpec* spec : Samplers()) {
    if (spec->flow_grid != FlowGrid::kNone) names.push_back(spec->name);
  }
  return absl::StrJoin(names, ", ");
}

// What the model's levels are shifted by.
absl::StatusOr<double> ShiftOf(const FlowConfig& flow, const SamplerOptions& options) {
  if (!options.flow_shift.has_value()) {
    if (!flow.dynamic_shifting) return flow.shift;
    return FieldError("sampler.flow_shift",
                      "missing: the model shifts its noise levels by a mu that is chosen for what "
                      "is sampled; give it, such as 1.15");
  }
  const double given = *options.flow_shift;
  const bool exponential = flow.dynamic_shifting && flow.time_shift == TimeShift::kExponential;
  const double shift = exponential ? std::exp(given) : given;
  if (!(given > 0 && std::isfinite(shift))) {
    return FieldError("sampler.flow_shift",
                      absl::StrCat(given, exponential ? " is not between 0 and 700"
                                                      : " is not a finite number above 0"));
  }
  return shift;
}

// Element i of `count` values evenly from `start` to `end`, both included; as numpy computes them.
double Even(double start, double end, int64_t i, int64_t count) {
  if (count == 1) return start;
  if (i == count - 1) return end;
  return static_cast<double>(i) * ((end - start) / static_cast<double>(count - 1)) + start;
}

double Shifted(double u, double shift) { return shift * u / (1 + (shift - 1) * u); }

// A bound of Euler's levels, for which diffusers takes what it has shifted in float32.
double ShiftedBound(float u, double shift) {
  return static_cast<float>(shift) * u / (1.0F + static_cast<float>(shift - 1) * u);
}

// σ of each step before any of them becomes float32.
std::vector<double> Levels(FlowGrid grid, const FlowConfig& flow, int64_t steps, double shift) {
  const auto total = static_cast<double>(flow.num_train_timesteps);
  std::vector<double> levels(steps);
  for (int64_t i = 0; i < steps; ++i) {
    double u = 0;
    if (grid == FlowGrid::kEuler) {
      const float smallest = 1.0F / static_cast<float>(total);
      const double bound_shift = flow.dynamic_shifting ? 1 : shift;
      u = Even(ShiftedBound(1, bound_shift) * total, ShiftedBound(smallest, bound_shift) * total, i,
               steps) /
          total;
    } else if (grid == FlowGrid::kUniPc) {
      u = Even(1, 1 / total, i, steps + 1);
    } else {
      u = 1 - Even(1, 1 / total, steps - i, steps + 1);
    }
    // Two forms of the same, of which the roundings can put a whole time on either side.
    const bool of_mu =
        flow.dynamic_shifting && grid != FlowGrid::kDpmSolver && grid != FlowGrid::kDeis;
    levels[i] = of_mu ? shift / (shift + (1 / u - 1)) : Shifted(u, shift);
  }
  return levels;
}

void StretchTo(double terminal, std::vector<double>* levels) {
  const double scale = (1 - levels->back()) / (1 - terminal);
  for (double& level : *levels) level = 1 - (1 - level) / scale;
}

absl::StatusOr<std::vector<TimeAndSigma>> MakeGrid(const SamplerSpec& spec,
                                                   const SchedulerConfig& config,
                                                   const SamplerOptions& options) {
  const FlowConfig& flow = *config.flow;
  const int64_t steps = options.steps;
  if (absl::Status status = ValidateSteps(flow.num_train_timesteps, steps); !status.ok()) {
    return status;
  }
  const absl::StatusOr<double> shift = ShiftOf(flow, options);
  if (!shift.ok()) return shift.status();
  const bool euler = spec.flow_grid == FlowGrid::kEuler;
  std::vector<double> levels = Levels(spec.flow_grid, flow, steps, *shift);
  if (flow.shift_terminal.has_value() && (euler || spec.flow_grid == FlowGrid::kUniPc)) {
    if (steps == 1) {
      return FieldError("sampler.steps",
                        "1 step cannot both begin at sigma 1 and be the last, which the model's "
                        "shift_terminal places; ask for at least 2");
    }
    StretchTo(*flow.shift_terminal, &levels);
  }
  const Sigmas curve = options.sigmas.value_or(config.sigmas.value_or(Sigmas::kSchedule));
  if (curve != Sigmas::kSchedule) {
    const double max = levels.front();
    const double min = levels.back();
    for (int64_t i = 0; i < steps; ++i) levels[i] = CurveAt(curve, min, max, Even(0, 1, i, steps));
  }
  // From σ = 1 exactly the solver in half log-SNR has no way down.
  constexpr double kAlmost = 1e-6;
  if (spec.flow_grid == FlowGrid::kUniPc && std::abs(levels.front() - 1) < kAlmost) {
    levels.front() -= kAlmost;
  }

  const auto total = static_cast<double>(flow.num_train_timesteps);
  std::vector<TimeAndSigma> grid;
  grid.reserve(levels.size());
  for (const double level : levels) {
    const auto sigma = static_cast<float>(level);
    const double time = euler ? sigma * static_cast<float>(total) : std::trunc(level * total);
    grid.push_back({time, sigma});
  }
  return grid;
}

absl::StatusOr<std::vector<TimeAndSigma>> GridOfTimes(const SchedulerConfig& config,
                                                      const SamplerOptions& options) {
  if (options.flow_shift.has_value()) {
    return FieldError("sampler.flow_shift",
                      absl::StrCat(*options.flow_shift,
                                   " does nothing beside sampler.timesteps, which are the noise "
                                   "levels themselves; leave one of them out"));
  }
  const auto total = static_cast<float>(config.num_train_timesteps());
  std::vector<TimeAndSigma> grid;
  for (const float time : options.timesteps) {
    grid.push_back({time, time / total});
  }
  return grid;
}

// Solvers divide by the distance of levels, and some by alpha.
absl::Status ValidateGrid(const SamplerSpec& spec, const std::vector<TimeAndSigma>& grid) {
  for (size_t i = 0; i < grid.size(); ++i) {
    const double above = i == 0 ? std::nextafter(1, 2) : grid[i - 1].sigma;
    // Written so that NaN fails.
    if (grid[i].sigma > 0 && grid[i].sigma < above) continue;
    return FieldError(
        "sampler.steps",
        absl::StrCat(grid.size(),
                     " steps with this shift make noise levels coincide"
                     " at sigma ",
                     grid[i].sigma, "; ask for fewer steps or another sampler.flow_shift"));
  }
  if (spec.flow_grid != FlowGrid::kEuler && grid.front().sigma == 1) {
    return FieldError("sampler.kind",
                      absl::StrCat(spec.name,
                                   " cannot begin at sigma 1, where nothing is left of "
                                   "x_0; choose a smaller sampler.flow_shift or euler"));
  }
  return absl::OkStatus();
}

absl::Status ValidateSigmas(const SamplerSpec& spec, const SchedulerConfig& config,
                            const SamplerOptions& options) {
  if (spec.flow_grid == FlowGrid::kEuler || !options.timesteps.empty()) return absl::OkStatus();
  const Sigmas sigmas = options.sigmas.value_or(config.sigmas.value_or(Sigmas::kSchedule));
  if (sigmas == Sigmas::kSchedule) return absl::OkStatus();
  return FieldError(
      "sampler.sigmas",
      absl::StrCat(Name(sigmas),
                   options.sigmas.has_value() ? "" : " (from the model's scheduler_config.json)",
                   " is not there for ", spec.name,
                   " on a flow model; choose schedule, or the sampler euler"));
}

}  // namespace

absl::Status ValidateForFlow(const SamplerSpec& spec, const SchedulerConfig& config,
                             const SamplerOptions& options) {
  if (!config.flow.has_value()) {
    if (!options.flow_shift.has_value()) return absl::OkStatus();
    return FieldError("sampler.flow_shift",
                      absl::StrCat(*options.flow_shift,
                                   " does nothing, as the model is no flow model; leave it out"));
  }
  if (spec.flow_grid == FlowGrid::kNone) {
    return FieldError("sampler.kind", absl::StrCat(spec.name,
                                                   " cannot sample a flow model; choose "
                                                   "one of ",
                                                   FlowSamplers()));
  }
  if (options.spacing.has_value()) {
    return FieldError("sampler.timestep_spacing",
                      absl::StrCat(Name(*options.spacing),
                                   " does nothing on a flow model, whose noise levels "
                                   "sampler.flow_shift places; leave it out"));
  }
  // A level that DPM-Solver++ takes from betas.
  if (spec.flow_grid == FlowGrid::kDpmSolver && config.final_sigma == FinalSigma::kSigmaMin) {
    return FieldError("sampler.kind",
                      absl::StrCat(spec.name,
                                   " on a flow model ends at sigma 0, and the model's "
                                   "scheduler_config.json says final_sigmas_type sigma_min; choose "
                                   "unipc or euler"));
  }
  return ValidateSigmas(spec, config, options);
}

absl::StatusOr<std::vector<GridPoint>> MakeFlowPoints(const SamplerSpec& spec,
                                                      const SchedulerConfig& config,
                                                      const SamplerOptions& options) {
  const absl::StatusOr<std::vector<TimeAndSigma>> grid =
      options.timesteps.empty() ? MakeGrid(spec, config, options) : GridOfTimes(config, options);
  if (!grid.ok()) return grid.status();
  if (absl::Status status = ValidateGrid(spec, *grid); !status.ok()) return status;
  std::vector<GridPoint> points;
  points.reserve(grid->size() + 1);
  for (const auto& [time, sigma] : *grid) points.push_back({time, Level::OfFlow(sigma)});
  const bool repeats =
      spec.flow_grid == FlowGrid::kDeis ||
      (spec.flow_grid == FlowGrid::kUniPc && config.final_sigma == FinalSigma::kSigmaMin);
  points.push_back({-1, repeats ? points.back().level : Level::OfFlow(0)});
  return points;
}

}  // namespace denoise
