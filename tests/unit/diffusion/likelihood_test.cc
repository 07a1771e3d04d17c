// The bound's table on Gaussian data, of which everything is known: the entropy, the best denoiser,
// and the variance of the true reverse process, with which the bound is no bound but the truth.
#include "server/diffusion/likelihood.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kTwoPi = 2 * std::numbers::pi;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

SchedulerConfig Config(BetaSchedule schedule = BetaSchedule::kLinear, int64_t train_steps = 1000) {
  SchedulerConfig config;
  config.betas = MakeBetas(schedule, train_steps, 0.0001, 0.02);
  config.clip_sample = false;
  return config;
}

Table Make(const SchedulerConfig& config, const LikelihoodOptions& options = {},
           bool learned_variance = false) {
  auto table = MakeLikelihoodTable(config, NoiseSchedule(config.betas), learned_variance, options);
  EXPECT_TRUE(table.ok()) << table.status();
  return table.value_or(Table{});
}

std::vector<int64_t> TimesOf(const Table& table) {
  std::vector<int64_t> times;
  for (const Row& row : table.rows) times.push_back(static_cast<int64_t>(row.timestep));
  return times;
}

Level LevelOf(const Term& term) { return Level(term.alpha * term.alpha); }

// What table.h says of a term whose x̂0 is off by that much.
double ExpectedNats(const Term& term, double log_variance, double squared_error) {
  const double squared = term.mean_of_x0 * term.mean_of_x0 * squared_error;
  // As a density: the bins' width is the same for all.
  if (term.discretised) {
    return 0.5 * (std::log(kTwoPi) + log_variance + squared * std::exp(-log_variance));
  }
  const double ratio = term.log_posterior_variance - log_variance;
  return 0.5 * (std::exp(ratio) - 1 - ratio + squared * std::exp(-log_variance));
}

TEST(LikelihoodTest, AllTermsInDescendingOrderOfTime) {
  const Table table = Make(Config(BetaSchedule::kLinear, 50));
  ASSERT_EQ(table.rows.size(), 50u);
  ASSERT_EQ(table.terms.size(), 50u);
  for (int i = 0; i < 50; ++i) {
    const Row& row = table.rows[i];
    EXPECT_EQ(row.timestep, 49 - i);
    EXPECT_EQ(row.state_timestep, 49 - i);
    EXPECT_DOUBLE_EQ(row.state_alpha_bar, table.terms[i].alpha * table.terms[i].alpha);
    EXPECT_TRUE(row.denoise);
    EXPECT_TRUE(row.noise);
    EXPECT_EQ(table.terms[i].discretised, i == 49);
    EXPECT_EQ(table.terms[i].weight, 1);
    EXPECT_EQ(table.terms[i].stratum, -1);
    // Run as an update the row would leave x as it is.
    Registers registers = {0.25};
    RunRow(row, 0.5, 0, 0.75, &registers);
    EXPECT_EQ(registers[0], 0.25);
  }
  EXPECT_EQ(table.registers, 1);
  EXPECT_EQ(table.initial_scale, 1);
  EXPECT_EQ(table.total_steps, 50u);
  EXPECT_TRUE(table.stochastic);
}

// With the variance of the true reverse process the bound is -log p(x_0), but for the prior that
// generation starts from: E[L_T + Σ L] = entropy of the data + KL(q(x_T) ‖ N(0, I)). Every
// coefficient of every term must be right for that.
TEST(LikelihoodTest, IsTheEntropyForTheTrueReverseProcess) {
  const GaussianData data = {.mean = 0.2, .variance = 0.3};
  for (const BetaSchedule kind : {BetaSchedule::kLinear, BetaSchedule::kSquaredCosCapV2}) {
    SchedulerConfig config = Config(kind);
    config.variance = Variance::kLearnedRange;
    const Table table = Make(config, {}, true);
    const Level last(NoiseSchedule(config.betas).alpha_bar(999));
    double nats = 0.5 * (last.alpha_bar * (data.variance + data.mean * data.mean) + last.variance -
                         1 - std::log(last.variance));
    for (size_t i = 0; i < table.rows.size(); ++i) {
      const Term& term = table.terms[i];
      const double left = data.PosteriorVariance(LevelOf(term));
      // What the denoiser would have to say, and what the row makes of it.
      const double added = term.mean_of_x0 * term.mean_of_x0 * left;
      const double truth = term.discretised
                               ? std::log(left)
                               : std::log(std::exp(term.log_posterior_variance) + added);
      const Row& row = table.rows[i];
      const double f = (truth - row.log_var_min) / (row.log_var_max - row.log_var_min);
      const double log_variance = f * row.log_var_max + (1 - f) * row.log_var_min;
      nats += ExpectedNats(term, log_variance, left);
    }
    const double entropy = 0.5 * (std::log(kTwoPi * data.variance) + 1);
    const double end_variance = data.VarianceAt(last);
    const double end_mean = data.MeanAt(last);
    const double prior = 0.5 * (end_variance + end_mean * end_mean - 1 - std::log(end_variance));
    EXPECT_NEAR(nats, entropy + prior, 1e-9);
  }
}

// Fixed-large is right for standard normal data, fixed-small for a single point (Ho et al. 2020,
// section 3.2). Only t = 0 is then no equality, where both take β̃_1.
TEST(LikelihoodTest, FixedVariancesAreExactForTheirData) {
  SchedulerConfig config = Config();
  const NoiseSchedule schedule(config.betas);
  const auto after_0 = [](const Table& table, const GaussianData& data) {
    double nats = 0;
    for (const Term& term : table.terms) {
      if (term.discretised) continue;
      nats += ExpectedNats(term, term.log_model_variance, data.PosteriorVariance(LevelOf(term)));
    }
    return nats;
  };
  config.variance = Variance::kFixedLarge;
  // Entropy of x_0 less that of x_0 given x_1, and L_T.
  const double expected =
      -0.5 * std::log(1 - schedule.alpha_bar(0)) + 0.5 * std::log(1 - schedule.alpha_bar(999));
  EXPECT_NEAR(after_0(Make(config), {.mean = 0, .variance = 1}), expected, 1e-9);
  EXPECT_GT(after_0(Make(config), {.mean = 0, .variance = 0}), 0.1);

  config.variance = Variance::kFixedSmall;
  EXPECT_NEAR(after_0(Make(config), {.mean = 0.5, .variance = 0}), 0, 1e-9);
  EXPECT_GT(after_0(Make(config), {.mean = 0, .variance = 1}), expected + 0.1);
}

TEST(LikelihoodTest, VariancesOfTheModel) {
  SchedulerConfig config = Config();
  const NoiseSchedule schedule(config.betas);
  const auto beta = [&](int64_t t) {
    return 1 - schedule.alpha_bar(t) / (t == 0 ? 1 : schedule.alpha_bar(t - 1));
  };
  const auto posterior = [&](int64_t t) {
    return (1 - schedule.alpha_bar(t - 1)) / (1 - schedule.alpha_bar(t)) * beta(t);
  };
  for (const Variance variance : {Variance::kFixedSmall, Variance::kFixedLarge}) {
    config.variance = variance;
    const bool large = variance == Variance::kFixedLarge;
    const Table table = Make(config);
    for (const int64_t t : {0, 1, 2, 500, 999}) {
      const Term& term = table.terms[999 - t];
      // β̃_0 would be 0: β̃_1 stands in, whichever of the two it is.
      const double small = std::log(posterior(t == 0 ? 1 : t));
      EXPECT_NEAR(term.log_posterior_variance, small, 1e-12);
      EXPECT_NEAR(term.log_model_variance, large && t > 0 ? std::log(beta(t)) : small, 1e-12);
      EXPECT_EQ(table.rows[999 - t].variance, RowVariance::kNone);
    }
    EXPECT_EQ(table.terms[999].mean_of_x0, 1);
    EXPECT_EQ(table.terms[999].mean_of_x, 0);
  }
  config.variance = Variance::kLearnedRange;
  const Table range = Make(config, {}, true);
  for (const int64_t t : {0, 1, 500, 999}) {
    const Row& row = range.rows[999 - t];
    EXPECT_EQ(row.variance, RowVariance::kLearnedRange);
    EXPECT_NEAR(row.log_var_min, std::log(posterior(t == 0 ? 1 : t)), 1e-12);
    EXPECT_NEAR(row.log_var_max, std::log(beta(t)), 1e-12);
  }
  config.variance = Variance::kLearned;
  EXPECT_EQ(Make(config, {}, true).rows[7].variance, RowVariance::kLearned);
  // As for the sampler: a variance that the file does not speak of is not used.
  config.variance.reset();
  EXPECT_EQ(Make(config, {}, true).rows[7].variance, RowVariance::kNone);
}

TEST(LikelihoodTest, ClipsAsTheConfigSaysUnlessTheRequestDoes) {
  SchedulerConfig config = Config();
  config.clip_sample.reset();
  EXPECT_TRUE(Make(config).rows[0].clip);  // as ancestral sampling does
  EXPECT_EQ(Make(config).rows[0].clip_range, 1);
  EXPECT_FALSE(Make(config, {.clip_sample = false}).rows[0].clip);
  config.clip_sample = false;
  EXPECT_FALSE(Make(config).rows[0].clip);
  config.clip_sample_range = 2;
  EXPECT_TRUE(Make(config, {.clip_sample = true}).rows[0].clip);
  EXPECT_EQ(Make(config, {.clip_sample = true}).rows[0].clip_range, 2);
}

TEST(LikelihoodTest, DrawsOneTimestepOfEachStratum) {
  const SchedulerConfig config = Config();
  const NoiseSchedule schedule(config.betas);
  const auto log_snr = [&](int64_t t) {
    return std::log(schedule.alpha_bar(t) / (1 - schedule.alpha_bar(t)));
  };
  const double width = (log_snr(1) - log_snr(999)) / 50;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Table table = Make(config, {.num_timesteps = 50, .seed = seed});
    const std::vector<int64_t> times = TimesOf(table);
    EXPECT_EQ(times.back(), 0);
    EXPECT_EQ(table.terms.back().stratum, -1);
    std::vector<int> strata;
    for (size_t i = 0; i + 1 < times.size(); ++i) {
      const int stratum = std::min(static_cast<int>((log_snr(1) - log_snr(times[i])) / width), 49);
      strata.push_back(stratum);
      const Term& term = table.terms[i];
      EXPECT_TRUE(term.stratum == stratum || (term.stratum == -1 && term.weight == 1)) << times[i];
      EXPECT_GE(term.weight, 1);
      if (i > 0) {
        EXPECT_LT(strata[i], strata[i - 1]);
      }
    }
    // Whichever t it is, all strata that hold one are there.
    EXPECT_EQ(strata.size(), 50u);
    EXPECT_EQ(table.total_steps, 51u);
  }
}

// Numbers, so that another platform or a change of the generator is noticed. From a Python
// program written by the description alone.
TEST(LikelihoodTest, TheChoiceIsAFunctionOfTheSeed) {
  const SchedulerConfig config = Config();
  EXPECT_THAT(TimesOf(Make(config, {.num_timesteps = 6, .seed = 0})),
              ElementsAre(891, 649, 616, 99, 37, 12, 0));
  EXPECT_THAT(TimesOf(Make(config, {.num_timesteps = 6, .seed = 12345678901234567890u})),
              ElementsAre(901, 719, 418, 157, 46, 15, 0));
}

// Only the choice: terms are what they are expected to be. The figures of a good choice.
TEST(LikelihoodTest, TheEstimateIsUnbiasedAndNarrow) {
  constexpr int kSeeds = 400;
  const GaussianData data = {.mean = 0, .variance = 0.25};
  for (const auto& [kind, deviation] :
       {std::pair(BetaSchedule::kLinear, 0.03), std::pair(BetaSchedule::kSquaredCosCapV2, 0.06)}) {
    const SchedulerConfig config = Config(kind);
    const auto expected = [&](const Table& table) {
      std::vector<double> nats;
      for (const Term& term : table.terms) {
        nats.push_back(
            ExpectedNats(term, term.log_model_variance, data.PosteriorVariance(LevelOf(term))));
      }
      return BoundOf(table, 0.125, nats);
    };
    const Bound truth = expected(Make(config));
    EXPECT_EQ(truth.standard_error, 0);
    double sum = 0, squares = 0;
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      const Bound bound = expected(Make(config, {.num_timesteps = 50, .seed = seed}));
      const double error = (bound.nats - truth.nats) / std::numbers::ln2;
      sum += error;
      squares += error * error;
      EXPECT_GT(bound.standard_error, 0);
    }
    EXPECT_LT(std::sqrt(squares / kSeeds), deviation);
    EXPECT_LT(std::abs(sum / kSeeds), 4 * std::sqrt(squares) / kSeeds);
  }
}

// The whole: samples of 192 values, the best denoiser, noise and choice from a seed. 50 terms and
// their standard error cover the truth as often as they claim, and do not cover it by being vague.
TEST(LikelihoodTest, TheStandardErrorCoversTheTruth) {
  constexpr int kSeeds = 300;
  constexpr int kValues = 192;
  const GaussianData data = {.mean = 0.1, .variance = 0.25};
  for (const BetaSchedule kind : {BetaSchedule::kLinear, BetaSchedule::kSquaredCosCapV2}) {
    const SchedulerConfig config = Config(kind);
    const Table all = Make(config);
    std::mt19937_64 generator(11);
    std::normal_distribution<double> normal;
    std::vector<double> x_0(kValues);
    for (double& x : x_0) x = data.mean + std::sqrt(data.variance) * normal(generator);

    // x̂0 is affine in x_t, so the mean of its squared error over z is known.
    double truth = 0;
    for (const Term& term : all.terms) {
      if (term.discretised) continue;  // not part of the estimate
      const Level level = LevelOf(term);
      const double at_0 = data.PosteriorMean(level, 0);
      const double slope = data.PosteriorMean(level, 1) - at_0;
      for (const double x : x_0) {
        const double bias = x - (slope * level.alpha * x + at_0);
        const double square = bias * bias + slope * slope * level.variance;
        truth += ExpectedNats(term, term.log_model_variance, square);
      }
    }

    int covered = 0;
    double claimed = 0, squares = 0;
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      const Table table = Make(config, {.num_timesteps = 50, .seed = seed});
      std::vector<double> nats(table.terms.size());
      for (size_t i = 0; i < nats.size(); ++i) {
        const Term& term = table.terms[i];
        const Row& row = table.rows[i];
        if (term.discretised) continue;
        for (const double x : x_0) {
          const double x_t = term.alpha * x + term.sigma * normal(generator);
          const double out = data.Denoiser(config.prediction, LevelOf(term), x_t);
          const double error = x - (row.p * x_t + row.q * out);
          nats[i] += ExpectedNats(term, term.log_model_variance, error * error);
        }
      }
      const Bound bound = BoundOf(table, 0, nats);
      const double error = bound.nats - truth;
      covered += std::abs(error) < 2 * bound.standard_error ? 1 : 0;
      claimed += bound.standard_error;
      squares += error * error;
    }
    EXPECT_GT(covered, 0.9 * kSeeds);  // within two standard errors
    EXPECT_LT(claimed / kSeeds, 1.5 * std::sqrt(squares / kSeeds));
  }
}

// A schedule that ends without signal, as rescale_betas_zero_snr makes it.
TEST(LikelihoodTest, TermsWithoutSignalAreFinite) {
  SchedulerConfig config = Config();
  config.betas.back() = 1;
  ASSERT_EQ(NoiseSchedule(config.betas).alpha_bar(999), 0);
  for (const Prediction prediction : {Prediction::kV, Prediction::kSample}) {
    config.prediction = prediction;
    for (const uint32_t num_timesteps : {0, 50}) {
      const Table table = Make(config, {.num_timesteps = num_timesteps});
      const Term& last = table.terms.front();
      EXPECT_EQ(table.rows.front().timestep, 999);
      EXPECT_EQ(last.alpha, 0);
      EXPECT_EQ(last.weight, 1);
      EXPECT_TRUE(std::isfinite(last.mean_of_x0) && std::isfinite(last.log_model_variance));
      EXPECT_EQ(last.mean_of_x, 0);
      EXPECT_EQ(table.rows.front().p, 0);
      EXPECT_TRUE(std::isfinite(table.rows.front().q));
      const Bound bound = BoundOf(table, 0, std::vector<double>(table.terms.size(), 0.01));
      EXPECT_TRUE(std::isfinite(bound.nats) && std::isfinite(bound.standard_error));
      EXPECT_GT(bound.nats, 0);
    }
  }
  EXPECT_EQ(PriorNats(NoiseSchedule(config.betas), std::vector<float>{0.5, -1}), 0);
}

TEST(LikelihoodTest, RefusesWhatHasNoMeaning) {
  const auto refused = [](const SchedulerConfig& config, const LikelihoodOptions& options) {
    return MakeLikelihoodTable(config, NoiseSchedule(config.betas), false, options).status();
  };
  SchedulerConfig config = Config();
  for (const uint32_t num_timesteps : {1, 1001}) {
    const absl::Status status = refused(config, {.num_timesteps = num_timesteps});
    EXPECT_EQ(FieldOf(status), "num_timesteps");
    EXPECT_THAT(std::string(status.message()), HasSubstr("nor in 2..1000"));
  }
  EXPECT_TRUE(refused(config, {.num_timesteps = 1000}).ok());

  SchedulerConfig flow = config;
  flow.prediction = Prediction::kFlow;
  EXPECT_EQ(FieldOf(refused(flow, {})), "model");
  EXPECT_THAT(std::string(refused(flow, {}).message()), HasSubstr("flow model"));

  SchedulerConfig no_signal = config;
  no_signal.betas.back() = 1;
  EXPECT_EQ(FieldOf(refused(no_signal, {})), "model");
  EXPECT_THAT(std::string(refused(no_signal, {}).message()), HasSubstr("epsilon"));

  SchedulerConfig learned = config;
  learned.variance = Variance::kLearned;
  EXPECT_EQ(FieldOf(refused(learned, {})), "model");

  SchedulerConfig still = config;
  still.betas[3] = 1e-12;  // lost in float32
  EXPECT_EQ(FieldOf(refused(still, {})), "model");
  EXPECT_THAT(std::string(refused(still, {}).message()), HasSubstr("t = 3"));
}

TEST(LikelihoodTest, FewTimesteps) {
  // All of the few are there for certain, so nothing is estimated.
  const Table table = Make(Config(BetaSchedule::kLinear, 3), {.num_timesteps = 2});
  EXPECT_THAT(TimesOf(table), ElementsAre(2, 1, 0));
  EXPECT_EQ(BoundOf(table, 0, {3, 2, 1}).nats, 6);
  EXPECT_EQ(BoundOf(table, 0, {3, 2, 1}).standard_error, 0);
  EXPECT_THAT(TimesOf(Make(Config(BetaSchedule::kLinear, 1))), ElementsAre(0));
}

TEST(LikelihoodTest, PriorIsTheDivergenceFromStandardNormal) {
  const NoiseSchedule schedule({0.1, 0.2, 0.3});
  const double alpha_bar = schedule.alpha_bar(2);
  double expected = 0;
  for (const double x : {0.5, -1.0, 0.25}) {
    expected += 0.5 * (alpha_bar * x * x + (1 - alpha_bar) - 1 - std::log(1 - alpha_bar));
  }
  EXPECT_NEAR(PriorNats(schedule, std::vector<float>{0.5, -1.0, 0.25}), expected, 1e-12);
}

// Weights count, and the error is in proportion to the terms.
TEST(LikelihoodTest, BoundIsTheWeightedSum) {
  const Table table = Make(Config(), {.num_timesteps = 10, .seed = 4});
  std::vector<double> nats(table.terms.size());
  std::iota(nats.begin(), nats.end(), 1.0);
  double expected = 100;
  for (size_t i = 0; i < nats.size(); ++i) expected += table.terms[i].weight * nats[i];
  const Bound once = BoundOf(table, 100, nats);
  EXPECT_NEAR(once.nats, expected, 1e-9 * expected);
  for (double& value : nats) value *= 3;
  EXPECT_NEAR(BoundOf(table, 100, nats).standard_error, 3 * once.standard_error, 1e-9);
  nats.back() += 1000;  // t = 0 is exact
  EXPECT_NEAR(BoundOf(table, 100, nats).standard_error, 3 * once.standard_error, 1e-9);
  nats[2] = kInfinity;
  EXPECT_EQ(BoundOf(table, 0, nats).nats, kInfinity);
}

}  // namespace
}  // namespace denoise
