#include "server/diffusion/sampler.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/custom_times.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/flow_grid.h"
#include "server/diffusion/image_start.h"
#include "server/diffusion/inpainting.h"
#include "server/diffusion/samplers/samplers.h"
#include "server/diffusion/sigma_grid.h"
#include "server/diffusion/time_grid.h"

namespace denoise {
namespace {

// "ddim" where that is the only sampler of which `takes` holds, else "ddim, euler".
std::string NamesOf(bool SamplerSpec::*takes) {
  std::vector<absl::string_view> names;
  for (const SamplerSpec* spec : Samplers()) {
    if (spec->*takes) names.push_back(spec->name);
  }
  return absl::StrJoin(names, ", ");
}

absl::Status DoesNothing(const SamplerSpec& spec, absl::string_view field, absl::string_view value,
                         bool SamplerSpec::*takes) {
  return FieldError(
      field, absl::StrCat(value, " does nothing for the sampler ", spec.name,
                          "; leave it out, or choose one that uses it (", NamesOf(takes), ")"));
}

absl::Status ValidateForSampler(const SamplerSpec& spec, const SamplerOptions& options) {
  // Written so that NaN fails.
  if (!(options.eta >= 0 && options.eta <= 1)) {
    return FieldError("sampler.eta", absl::StrCat(options.eta, " is not in 0..1"));
  }
  if (options.eta != 0 && !spec.takes_eta) {
    return DoesNothing(spec, "sampler.eta", absl::StrCat(options.eta), &SamplerSpec::takes_eta);
  }
  if (options.variance.has_value() && !spec.takes_variance) {
    return DoesNothing(spec, "sampler.variance", Name(*options.variance),
                       &SamplerSpec::takes_variance);
  }
  if (options.use_clipped_model_output && !spec.takes_use_clipped_model_output) {
    return DoesNothing(spec, "sampler.use_clipped_model_output", "true",
                       &SamplerSpec::takes_use_clipped_model_output);
  }
  if (options.sigmas.has_value() && !spec.takes_sigmas) {
    return DoesNothing(spec, "sampler.sigmas", Name(*options.sigmas), &SamplerSpec::takes_sigmas);
  }
  return absl::OkStatus();
}

absl::Status ValidateBounds(const SamplerSettings& settings, const SamplerOptions& options) {
  if (options.clip_sample_range.has_value()) {
    const double range = *options.clip_sample_range;
    if (!(range > 0 && std::isfinite(range))) {
      return FieldError("sampler.clip_sample_range",
                        absl::StrCat(range, " is not a finite number above 0"));
    }
    if (!settings.bounds_x0()) {
      return FieldError("sampler.clip_sample_range",
                        absl::StrCat(range,
                                     " does nothing, as nothing is clipped; set "
                                     "sampler.clip_sample, or leave it out"));
    }
  }
  if (settings.threshold &&
      (options.clip_sample.value_or(false) || options.clip_sample_range.has_value())) {
    return FieldError(
        options.clip_sample_range.has_value() ? "sampler.clip_sample_range" : "sampler.clip_sample",
        "does nothing, as x_0 is thresholded; leave it out, or set sampler.thresholding to false");
  }
  if (options.use_clipped_model_output && !settings.bounds_x0()) {
    return FieldError("sampler.use_clipped_model_output",
                      "true does nothing, as nothing is clipped; set sampler.clip_sample or "
                      "sampler.thresholding, or leave it out");
  }
  return absl::OkStatus();
}

absl::Status ValidateVariance(Variance variance, bool learned_variance, bool from_request) {
  const bool learned = variance == Variance::kLearned || variance == Variance::kLearnedRange;
  if (!learned || learned_variance) return absl::OkStatus();
  return FieldError(
      "sampler.variance",
      absl::StrCat(Name(variance), from_request ? "" : " (from the model's scheduler_config.json)",
                   " needs a denoiser that gives a variance in a second C channels, "
                   "and this model's does not; choose fixed_small or fixed_large"));
}

absl::Status ValidateNoise(const SamplerSpec& spec, bool learned_variance) {
  if (!learned_variance || spec.without_noise.empty()) return absl::OkStatus();
  return FieldError(
      "sampler.kind",
      absl::StrCat(spec.name,
                   " draws noise of the schedule's variance, and this model's denoiser gives the "
                   "variance itself; choose ",
                   spec.without_noise, ", the same without noise, or ddpm, which uses it"));
}

void SetStart(double time, const Level& level, Table* table) {
  table->initial_timestep = time;
  table->initial_alpha_bar = level.alpha_bar;
  table->initial_sigma = level.sigma;
}

// The request's value first, then the file's, then the class's default.
SamplerSettings Settle(const SamplerSpec& spec, const SchedulerConfig& config,
                       const NoiseSchedule& schedule, const SamplerOptions& options) {
  SamplerSettings settings{.schedule = schedule, .prediction = config.prediction};
  if (options.timesteps.empty()) {
    settings.steps = options.steps;
  } else {
    settings.steps = static_cast<int64_t>(options.timesteps.size());
    settings.custom_times = true;
  }
  const bool clip_by_default =
      spec.uses_clip_sample ? config.clip_sample.value_or(spec.clip_sample) : spec.clip_sample;
  settings.clip = options.clip_sample.value_or(clip_by_default);
  settings.clip_range =
      options.clip_sample_range.value_or(config.clip_sample_range.value_or(spec.clip_sample_range));
  const bool threshold_by_default = spec.uses_thresholding && config.thresholding.value_or(false);
  settings.threshold = options.thresholding.value_or(threshold_by_default);
  settings.threshold_ratio = config.dynamic_thresholding_ratio;
  settings.threshold_max = config.sample_max_value;
  if (settings.threshold) settings.clip = false;
  settings.variance = options.variance.value_or(config.variance.value_or(spec.variance));
  settings.eta = options.eta;
  settings.use_clipped_model_output = options.use_clipped_model_output;
  settings.set_alpha_to_one = config.set_alpha_to_one.value_or(spec.set_alpha_to_one);
  settings.order = static_cast<int>(config.solver_order.value_or(spec.solver_order));
  settings.solver_type = config.solver_type.value_or(settings.solver_type);
  settings.lower_order_final = config.lower_order_final.value_or(settings.lower_order_final);
  settings.euler_at_final = config.euler_at_final.value_or(settings.euler_at_final);
  settings.skip_prk_steps = config.skip_prk_steps.value_or(settings.skip_prk_steps);
  return settings;
}

absl::StatusOr<std::vector<int64_t>> MakeTimes(const SamplerSpec& spec,
                                               const SchedulerConfig& config,
                                               const NoiseSchedule& schedule,
                                               const SamplerOptions& options, Spacing spacing) {
  if (!options.timesteps.empty()) {
    return std::vector<int64_t>(options.timesteps.begin(), options.timesteps.end());
  }
  return WholeTimes(spacing, schedule.size(), options.steps,
                    config.steps_offset.value_or(spec.steps_offset));
}

absl::StatusOr<std::vector<GridPoint>> MakePoints(const SamplerSpec& spec,
                                                  const SchedulerConfig& config,
                                                  const NoiseSchedule& schedule,
                                                  const SamplerOptions& options, Spacing spacing) {
  const Sigmas by_default =
      spec.uses_sigmas ? config.sigmas.value_or(Sigmas::kSchedule) : Sigmas::kSchedule;
  SigmaGridOptions grid = {
      .grid = spec.grid,
      .spacing = spacing,
      .steps = options.steps,
      .steps_offset = config.steps_offset.value_or(spec.steps_offset),
      .sigmas = options.sigmas.value_or(by_default),
      .sigma_min = config.sigma_min,
      .sigma_max = config.sigma_max,
      .round_karras_times = spec.rounds_cosine_times || !config.squared_cosine,
  };
  if (!options.timesteps.empty()) grid.sigmas = Sigmas::kSchedule;
  const absl::StatusOr<std::vector<TimeAndSigma>> sigmas =
      options.timesteps.empty() ? MakeSigmaGrid(schedule, grid)
                                : SigmasAt(schedule, options.timesteps);
  if (!sigmas.ok()) return sigmas.status();

  std::vector<GridPoint> points;
  points.reserve(sigmas->size() + 1);
  for (const auto& [time, sigma] : *sigmas) points.push_back({time, Level::FromRatio(sigma)});
  double last = 0;
  if ((spec.uses_final_sigma ? config.final_sigma.value_or(spec.final_sigma) : spec.final_sigma) ==
      FinalSigma::kSigmaMin) {
    const bool repeat = spec.repeats_last_level && grid.sigmas != Sigmas::kSchedule;
    last = repeat ? sigmas->back().sigma : FirstSigma(schedule);
  }
  points.push_back({-1, Level::FromRatio(last)});
  return points;
}

// Leaves the last `steps` steps.
void KeepLast(int64_t steps, SamplerSettings* settings) {
  const int64_t skipped = settings->steps - steps;
  if (settings->points.empty()) {
    settings->times.erase(settings->times.begin(), settings->times.begin() + skipped);
  } else {
    settings->points.erase(settings->points.begin(), settings->points.begin() + skipped);
  }
}

absl::Status Inpaint(const SamplerSpec& spec, const SamplerOptions& options, Table* table) {
  const bool resample = options.jump_samples >= 2;
  if (resample && !options.inpainting) {
    return FieldError("inpainting.jump_samples",
                      absl::StrCat(options.jump_samples,
                                   " does nothing without a mask; give one, or leave it out"));
  }
  if (resample) {
    return BlendAndResample(options.jump_length, options.jump_samples, spec.repeatable, spec.name,
                            table);
  }
  if (options.jump_length != 0) {
    return FieldError("inpainting.jump_length",
                      absl::StrCat(options.jump_length,
                                   " does nothing without inpainting.jump_samples of 2 or more; "
                                   "leave it out, or give that too"));
  }
  if (options.inpainting) BlendRows(table);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Table> MakeTable(const SchedulerConfig& config, const NoiseSchedule& schedule,
                                bool learned_variance, const SamplerOptions& options) {
  const SamplerSpec& spec = SpecOf(options.kind.value_or(config.default_sampler));
  if (absl::Status status = ValidateForSampler(spec, options); !status.ok()) return status;
  if (absl::Status status = ValidateForFlow(spec, config, options); !status.ok()) return status;
  if (absl::Status status = ValidateNoise(spec, learned_variance); !status.ok()) return status;
  if (!options.timesteps.empty()) {
    absl::Status status = ValidateTimesteps(options, spec.grid, schedule);
    if (!status.ok()) return status;
  }
  // Held here, as the settings refer to it.
  const NoiseSchedule seen = spec.begins_in_noise_alone ? schedule : schedule.WithoutZeroSnr();
  SamplerSettings settings = Settle(spec, config, seen, options);
  if (absl::Status status = ValidateBounds(settings, options); !status.ok()) return status;
  if (spec.takes_variance) {
    if (absl::Status status =
            ValidateVariance(settings.variance, learned_variance, options.variance.has_value());
        !status.ok()) {
      return status;
    }
  }

  const Spacing spacing = options.spacing.value_or(config.spacing.value_or(spec.spacing));
  if (spec.grid == TimeGrid::kWhole) {
    absl::StatusOr<std::vector<int64_t>> times = MakeTimes(spec, config, seen, options, spacing);
    if (!times.ok()) return times.status();
    settings.times = *std::move(times);
  } else {
    absl::StatusOr<std::vector<GridPoint>> points =
        config.flow.has_value() ? MakeFlowPoints(spec, config, options)
                                : MakePoints(spec, config, seen, options, spacing);
    if (!points.ok()) return points.status();
    settings.points = *std::move(points);
  }
  Table table;
  table.total_steps = static_cast<uint32_t>(settings.steps);
  if (options.strength.has_value()) {
    const absl::StatusOr<int64_t> run = StepsOfStrength(settings.steps, *options.strength);
    if (!run.ok()) return run.status();
    KeepLast(*run, &settings);
    table.total_steps = static_cast<uint32_t>(*run);
  }
  if (spec.grid == TimeGrid::kWhole) {
    const int64_t first = settings.times.front();
    SetStart(static_cast<double>(first), Level(seen.alpha_bar(first)), &table);
  } else {
    const GridPoint& first = settings.points.front();
    SetStart(first.time, first.level, &table);
    if (spec.scales_start && !config.flow.has_value() && spacing != Spacing::kLeading) {
      table.initial_scale = first.level.sigma;
    }
  }
  if (options.strength.has_value()) StartFromImage(&table);
  table.rows.reserve(table.total_steps);
  if (absl::Status status = spec.fill(settings, &table); !status.ok()) return status;
  if (absl::Status status = Inpaint(spec, options, &table); !status.ok()) return status;
  table.stochastic = std::any_of(table.rows.begin(), table.rows.end(), [](const Row& row) {
    return row.noise || row.blend == Blend::kFreshNoise;
  });
  table.fractional_times = std::any_of(table.rows.begin(), table.rows.end(), [](const Row& row) {
    return row.timestep != std::floor(row.timestep);
  });
  return table;
}

}  // namespace denoise
