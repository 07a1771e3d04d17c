#include "server/diffusion/likelihood.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

// SplitMix64 (Steele, Lea & Flood 2014): integer operations alone, so that a seed means the same
// choice everywhere.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  // In [0, 1), a multiple of 2⁻⁵³.
  double Uniform() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) * 0x1p-53;
  }

 private:
  uint64_t state_;
};

// ᾱ before the transition to t.
double AlphaBarBefore(const NoiseSchedule& schedule, int64_t t) {
  return t == 0 ? 1 : schedule.alpha_bar(t - 1);
}

// β̃_t, the variance of q(x_{t-1}|x_t,x_0).
double PosteriorVariance(const NoiseSchedule& schedule, int64_t t) {
  const double before = AlphaBarBefore(schedule, t);
  return (1 - before) / (1 - schedule.alpha_bar(t)) * (1 - schedule.alpha_bar(t) / before);
}

// SNR_{t-1}/SNR_t - 1, twice what the squared error of ε weighs in L_t where the model's variance
// is β̃ (Kingma et al. 2021, equation 15). For t ≥ 1 with ᾱ_t > 0.
double EpsilonWeight(const NoiseSchedule& schedule, int64_t t) {
  const double before = schedule.alpha_bar(t - 1);
  const double after = schedule.alpha_bar(t);
  return (before - after) / (after * (1 - before));
}

// The same, from a term.
double EpsilonWeight(const Term& term) {
  const double of_epsilon = term.mean_of_x0 * term.sigma / term.alpha;
  return of_epsilon * of_epsilon / std::exp(term.log_posterior_variance);
}

// A timestep that is computed.
struct Choice {
  int64_t t;
  double weight = 1;
  int stratum = -1;
};

// One t from each stratum, t ascending. Within its stratum a t is drawn in proportion to its
// EpsilonWeight: L_t is nearly in proportion to that too, so that what is drawn says little about
// the stratum's estimate. With uniform probabilities the standard deviation is four to ten times
// larger.
std::vector<Choice> DrawTimesteps(const NoiseSchedule& schedule, int64_t first, int64_t last,
                                  uint32_t num_strata, uint64_t seed) {
  const auto log_snr = [&](int64_t t) {
    return std::log(schedule.alpha_bar(t) / (1 - schedule.alpha_bar(t)));
  };
  const double from = log_snr(first);
  const double width = (from - log_snr(last)) / num_strata;
  const auto stratum_of = [&](int64_t t) {
    const double position = width > 0 ? (from - log_snr(t)) / width : 0;
    return std::min(static_cast<int>(position), static_cast<int>(num_strata) - 1);
  };

  SplitMix64 random(seed);
  std::vector<Choice> choices;
  for (int64_t begin = first; begin <= last;) {
    const int stratum = stratum_of(begin);
    double sum = 0;
    int64_t end = begin;
    for (; end <= last && stratum_of(end) == stratum; ++end) sum += EpsilonWeight(schedule, end);
    if (end == begin + 1) {
      choices.push_back({.t = begin});
    } else {
      double left = random.Uniform() * sum;
      int64_t t = begin;
      // The last one takes what rounding leaves over.
      for (; t + 1 < end && left >= EpsilonWeight(schedule, t); ++t) {
        left -= EpsilonWeight(schedule, t);
      }
      choices.push_back({.t = t, .weight = sum / EpsilonWeight(schedule, t), .stratum = stratum});
    }
    begin = end;
  }
  return choices;
}

// t ascending.
std::vector<Choice> ChooseTimesteps(const NoiseSchedule& schedule,
                                    const LikelihoodOptions& options) {
  std::vector<Choice> choices;
  if (options.num_timesteps == 0) {
    for (int64_t t = 0; t < schedule.size(); ++t) choices.push_back({.t = t});
    return choices;
  }
  choices.push_back({.t = 0});
  // A schedule that ends without signal has no log-SNR there: that one t is always computed.
  const bool ends_in_noise = schedule.alpha_bar(schedule.size() - 1) == 0;
  const int64_t last = schedule.size() - (ends_in_noise ? 2 : 1);
  if (last >= 1) {
    const std::vector<Choice> drawn =
        DrawTimesteps(schedule, 1, last, options.num_timesteps, options.seed);
    choices.insert(choices.end(), drawn.begin(), drawn.end());
  }
  if (ends_in_noise) choices.push_back({.t = schedule.size() - 1});
  return choices;
}

absl::Status Validate(const SamplerSettings& settings, bool learned_variance,
                      uint32_t num_timesteps) {
  const NoiseSchedule& schedule = settings.schedule;
  if (settings.prediction == Prediction::kFlow) {
    return FieldError("model",
                      "is a flow model, whose training is no variational bound, so that its "
                      "likelihood has none here; choose a model trained as a diffusion model");
  }
  if (num_timesteps == 1 || num_timesteps > schedule.size()) {
    return FieldError("num_timesteps",
                      absl::StrCat(num_timesteps, " is neither 0, for all of them, nor in 2..",
                                   schedule.size(), ", the timesteps that the model has"));
  }
  for (int64_t t = 0; t < schedule.size(); ++t) {
    if (schedule.alpha_bar(t) < AlphaBarBefore(schedule, t)) continue;
    return FieldError("model", absl::StrCat("its schedule adds no noise at t = ", t,
                                            ", where the bound would divide by 0; correct the "
                                            "betas in its scheduler_config.json"));
  }
  if (schedule.alpha_bar(schedule.size() - 1) == 0 && settings.prediction == Prediction::kEpsilon) {
    return FieldError("model",
                      "predicts epsilon, from which nothing follows for x_0 at its last timestep, "
                      "where no signal is left; choose one that predicts v or x_0");
  }
  const bool learned =
      settings.variance == Variance::kLearned || settings.variance == Variance::kLearnedRange;
  if (learned && !learned_variance) {
    return FieldError("model",
                      absl::StrCat("says variance_type ", Name(settings.variance),
                                   " in its scheduler_config.json, and its denoiser gives no "
                                   "variance; correct variance_type"));
  }
  return absl::OkStatus();
}

Term MakeTerm(const NoiseSchedule& schedule, const Choice& choice) {
  const Level level(schedule.alpha_bar(choice.t));
  const Level before(AlphaBarBefore(schedule, choice.t));
  const double beta = 1 - level.alpha_bar / before.alpha_bar;
  Term term;
  term.alpha = level.alpha;
  term.sigma = level.sigma;
  // Ho et al. 2020, equation 7.
  term.mean_of_x0 = before.alpha * beta / level.variance;
  term.mean_of_x = std::sqrt(1 - beta) * before.variance / level.variance;
  // β̃_0 = 0 has no logarithm; the published code takes β̃_1 in its place. (With T = 1, β_0.)
  const double variance =
      schedule.size() == 1 ? beta : PosteriorVariance(schedule, std::max<int64_t>(choice.t, 1));
  term.log_posterior_variance = std::log(variance);
  term.log_model_variance = term.log_posterior_variance;
  term.discretised = choice.t == 0;
  term.weight = choice.weight;
  term.stratum = choice.stratum;
  return term;
}

// The model's own variance, in the row where the denoiser has a say in it.
void SetModelVariance(Variance kind, const NoiseSchedule& schedule, int64_t t, Term* term,
                      Row* row) {
  const double log_beta = std::log(1 - schedule.alpha_bar(t) / AlphaBarBefore(schedule, t));
  switch (kind) {
    case Variance::kFixedSmall:
      break;
    case Variance::kFixedLarge:
      // At t = 0 it is β̃_1, as for fixed-small.
      if (t > 0) term->log_model_variance = log_beta;
      break;
    case Variance::kLearned:
      row->variance = RowVariance::kLearned;
      break;
    case Variance::kLearnedRange:
      row->variance = RowVariance::kLearnedRange;
      row->log_var_min = term->log_posterior_variance;
      row->log_var_max = log_beta;
      break;
  }
}

}  // namespace

absl::StatusOr<Table> MakeLikelihoodTable(const SchedulerConfig& config,
                                          const NoiseSchedule& schedule, bool learned_variance,
                                          const LikelihoodOptions& options) {
  // p is the process of ancestral sampling, so what the file leaves out is as it is there.
  SamplerSettings settings{.schedule = schedule, .prediction = config.prediction};
  settings.clip = options.clip_sample.value_or(config.clip_sample.value_or(kDdpm.clip_sample));
  settings.clip_range = config.clip_sample_range.value_or(kDdpm.clip_sample_range);
  settings.variance = config.variance.value_or(kDdpm.variance);
  if (absl::Status status = Validate(settings, learned_variance, options.num_timesteps);
      !status.ok()) {
    return status;
  }

  const std::vector<Choice> choices = ChooseTimesteps(schedule, options);
  Table table;
  table.total_steps = static_cast<uint32_t>(choices.size());
  table.initial_timestep = -1;
  table.initial_alpha_bar = 1;
  table.initial_sigma = 0;
  table.stochastic = true;
  table.rows.reserve(choices.size());
  table.terms.reserve(choices.size());
  for (auto choice = choices.rbegin(); choice != choices.rend(); ++choice) {
    const auto t = static_cast<double>(choice->t);
    const Level level(schedule.alpha_bar(choice->t));
    Term term = MakeTerm(schedule, *choice);
    Row row = DenoiseRow(settings, t, level);
    SetModelVariance(settings.variance, schedule, choice->t, &term, &row);
    row.noise = true;
    row.w[kColX][kColX] = 1;
    row.step = static_cast<uint32_t>(table.rows.size() + 1);
    SetState(t, level, &row);
    table.rows.push_back(row);
    table.terms.push_back(term);
  }
  return table;
}

double PriorNats(const NoiseSchedule& schedule, absl::Span<const float> x_0) {
  const double alpha_bar = schedule.alpha_bar(schedule.size() - 1);
  // ½ (σ² - 1 - log σ²), exact also where σ is nearly 1.
  const double constant = -0.5 * (alpha_bar + std::log1p(-alpha_bar));
  double squares = 0;
  for (const double x : x_0) squares += x * x;
  return 0.5 * alpha_bar * squares + static_cast<double>(x_0.size()) * constant;
}

// The terms divided by their EpsilonWeight are a smooth function of log-SNR, seen with noise: the
// noise is what neighbours differ by. Terms that are there for certain count like the others, as
// their z is drawn too; what is smooth and differs all the same makes the error larger, never
// smaller.
Bound BoundOf(const Table& table, double prior_nats, absl::Span<const double> nats) {
  Bound bound{.nats = prior_nats};
  bool estimated = false;
  std::vector<double> heights;  // L divided by its EpsilonWeight
  std::vector<double> widths;   // of the EpsilonWeights that the term stands for
  for (size_t i = 0; i < table.terms.size(); ++i) {
    const Term& term = table.terms[i];
    bound.nats += term.weight * nats[i];
    estimated = estimated || term.stratum >= 0;
    if (term.discretised || term.alpha == 0) continue;  // outside the strata
    heights.push_back(nats[i] / EpsilonWeight(term));
    widths.push_back(term.weight * EpsilonWeight(term));
  }
  if (!estimated) return bound;

  double variance = 0;
  for (size_t i = 0; i < heights.size(); ++i) {
    double squares = 0;
    int neighbours = 0;
    for (const size_t j : {i - 1, i + 1}) {
      if (j >= heights.size()) continue;  // i - 1 of 0 as well
      squares += (heights[i] - heights[j]) * (heights[i] - heights[j]);
      ++neighbours;
    }
    if (neighbours > 0) variance += widths[i] * widths[i] * squares / (2 * neighbours);
  }
  bound.standard_error = std::sqrt(variance);
  return bound;
}

}  // namespace denoise
