// DDPM tables against what theory says. The optimal denoiser of Gaussian data is affine, so whole
// chains have exact moments; and the variance of the true reverse transition is known, so that a
// denoiser that answers it must reproduce the forward process's marginal at every t.
#include <gtest/gtest.h>

#include <cmath>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/sampler.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

constexpr int64_t kTrainSteps = 200;
constexpr Prediction kPredictions[] = {Prediction::kEpsilon, Prediction::kV, Prediction::kSample};

class DdpmTest : public ::testing::Test {
 protected:
  DdpmTest() {
    config_.betas = MakeBetas(BetaSchedule::kLinear, kTrainSteps, 0.0005, 0.1);
    config_.clip_sample = false;
  }

  Table Make(const SamplerOptions& options, bool learned_variance = false) {
    auto table = MakeTable(config_, schedule(), learned_variance, options);
    EXPECT_TRUE(table.ok()) << table.status();
    return table.value_or(Table{});
  }
  NoiseSchedule schedule() const { return NoiseSchedule(config_.betas); }

  // Starts at the marginal of the first time and checks that every state but the last, which is
  // E[x_0|x] and no draw, has the marginal of its own.
  void ExpectMarginals(const Table& table, const GaussianData& data,
                       const std::function<double(const Row&, const Level&, const Level&)>& o2) {
    Level level(table.initial_alpha_bar);
    Moments moments = AllEqual(data.MeanAt(level), data.VarianceAt(level));
    for (const Row& row : table.rows) {
      const Level next(row.state_alpha_bar);
      moments = Advance(
          row, [&](double x) { return data.Denoiser(config_.prediction, level, x); },
          o2(row, level, next), moments);
      const double lost = row.noise ? 0 : data.PosteriorVariance(level);
      ASSERT_NEAR(moments.mean[0], data.MeanAt(next), 1e-9) << row.timestep;
      ASSERT_NEAR(moments.covariance[0][0], data.VarianceAt(next) - lost, 1e-9) << row.timestep;
      level = next;
    }
  }

  // The log variance of the true p(x'|x) of this data between two levels.
  static double TrueLogVariance(const GaussianData& data, const Level& from, const Level& to) {
    const double beta = 1 - from.alpha_bar / to.alpha_bar;
    const double x0_weight = to.alpha * beta / from.variance;
    return std::log(to.variance / from.variance * beta +
                    x0_weight * x0_weight * data.PosteriorVariance(from));
  }

  SchedulerConfig config_;
};

double NoSecondChannel(const Row&, const Level&, const Level&) { return 0; }

// β̃ is the true variance where the data is one point.
TEST_F(DdpmTest, FixedSmallIsExactForAPoint) {
  for (const Prediction prediction : kPredictions) {
    config_.prediction = prediction;
    for (const uint32_t steps : {1u, 7u, 50u, 200u}) {
      ExpectMarginals(Make({.steps = steps, .variance = Variance::kFixedSmall}),
                      {.mean = 0.8, .variance = 0}, &NoSecondChannel);
    }
  }
}

// β is the true variance where the data is N(0, 1).
TEST_F(DdpmTest, FixedLargeIsExactForTheStandardNormal) {
  for (const Prediction prediction : kPredictions) {
    config_.prediction = prediction;
    for (const uint32_t steps : {1u, 7u, 50u, 200u}) {
      ExpectMarginals(Make({.steps = steps, .variance = Variance::kFixedLarge}),
                      {.mean = 0, .variance = 1}, &NoSecondChannel);
    }
  }
}

TEST_F(DdpmTest, LearnedVarianceIsExactForAnyGaussian) {
  const GaussianData data = {.mean = -0.4, .variance = 0.3};
  for (const Spacing spacing : {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace}) {
    ExpectMarginals(Make({.steps = 30, .spacing = spacing, .variance = Variance::kLearned}, true),
                    data, [&](const Row& row, const Level& from, const Level& to) {
                      EXPECT_EQ(row.variance,
                                row.noise ? RowVariance::kLearned : RowVariance::kNone);
                      return row.noise ? TrueLogVariance(data, from, to) : 0;
                    });
  }
}

TEST_F(DdpmTest, LearnedRangeIsExactForAnyGaussian) {
  const GaussianData data = {.mean = -0.4, .variance = 0.3};
  for (const Spacing spacing : {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace}) {
    ExpectMarginals(
        Make({.steps = 30, .spacing = spacing, .variance = Variance::kLearnedRange}, true), data,
        [&](const Row& row, const Level& from, const Level& to) {
          if (!row.noise) return 0.0;
          EXPECT_EQ(row.variance, RowVariance::kLearnedRange);
          const double f = (TrueLogVariance(data, from, to) - row.log_var_min) /
                           (row.log_var_max - row.log_var_min);
          EXPECT_GE(f, 0);
          EXPECT_LE(f, 1);
          return 2 * f - 1;
        });
  }
}

// Ends of the range: f = 0 is fixed-small, f = 1 fixed-large.
TEST_F(DdpmTest, LearnedRangeEndsAreTheFixedVariances) {
  const Table range = Make({.steps = 50, .variance = Variance::kLearnedRange}, true);
  const Table small = Make({.steps = 50, .variance = Variance::kFixedSmall});
  const Table large = Make({.steps = 50, .variance = Variance::kFixedLarge});
  for (size_t i = 0; i + 1 < range.rows.size(); ++i) {
    Registers with_small{}, with_large{}, with_range{};
    RunRow(small.rows[i], 0, 0, 1, &with_small);
    RunRow(range.rows[i], 0, -1, 1, &with_range);
    EXPECT_NEAR(with_range[0], with_small[0], 1e-14);
    RunRow(large.rows[i], 0, 0, 1, &with_large);
    with_range = {};
    RunRow(range.rows[i], 0, 1, 1, &with_range);
    EXPECT_NEAR(with_range[0], with_large[0], 1e-14);
  }
}

TEST_F(DdpmTest, FixedVarianceIgnoresTheSecondChannels) {
  const Table table = Make({.steps = 5, .variance = Variance::kFixedSmall}, true);
  for (const Row& row : table.rows) EXPECT_EQ(row.variance, RowVariance::kNone);
}

TEST_F(DdpmTest, DrawsNoiseUnlessAtTimeZero) {
  const Table to_zero = Make({.steps = 10});
  for (const Row& row : to_zero.rows) EXPECT_EQ(row.noise, row.timestep > 0);
  EXPECT_FALSE(to_zero.rows.back().noise);
  EXPECT_EQ(to_zero.rows.back().w[kColX][kColZ], 0);
  EXPECT_TRUE(to_zero.stochastic);

  // A grid that ends above 0 draws once more, with the least of variances or with all of β.
  const Table above = Make({.steps = 10, .spacing = Spacing::kTrailing});
  ASSERT_GT(above.rows.back().timestep, 0);
  EXPECT_TRUE(above.rows.back().noise);
  EXPECT_DOUBLE_EQ(above.rows.back().w[kColX][kColZ], 1e-10);
  const Table large =
      Make({.steps = 10, .spacing = Spacing::kTrailing, .variance = Variance::kFixedLarge});
  EXPECT_NEAR(large.rows.back().w[kColX][kColZ],
              std::sqrt(1 - schedule().alpha_bar(static_cast<int64_t>(above.rows.back().timestep))),
              1e-12);

  EXPECT_FALSE(Make({.steps = 1}).stochastic);
}

TEST_F(DdpmTest, ClipsThePredictionAndNothingElse) {
  const Table clipped = Make({.steps = 10, .clip_sample = true, .clip_sample_range = 0.5});
  const Table free = Make({.steps = 10});
  for (size_t i = 0; i < free.rows.size(); ++i) {
    const Row& row = clipped.rows[i];
    EXPECT_TRUE(row.clip);
    EXPECT_FALSE(free.rows[i].clip);
    // A prediction far out is brought to 0.5, one inside stays.
    Registers registers = {0.3};
    EXPECT_EQ(RunRow(row, -1e6, 0, 0, &registers), 0.5);
    EXPECT_NEAR(registers[0], row.w[kColX][kColX] * 0.3 + row.w[kColX][kColX0] * 0.5, 1e-14);
    const Level level(schedule().alpha_bar(static_cast<int64_t>(row.timestep)));
    const double out = (0.3 - level.alpha * 0.4) / level.sigma;
    Registers inside = {0.3}, inside_free = {0.3};
    EXPECT_NEAR(RunRow(row, out, 0, 0, &inside), 0.4, 1e-12);
    RunRow(free.rows[i], out, 0, 0, &inside_free);
    EXPECT_EQ(inside[0], inside_free[0]);
  }
}

TEST_F(DdpmTest, RowsSayWhatStateTheyLeave) {
  const Table table = Make({.steps = 4});  // t = 150, 100, 50, 0
  ASSERT_EQ(table.rows.size(), 4u);
  EXPECT_EQ(table.total_steps, 4u);
  EXPECT_EQ(table.registers, 1);
  EXPECT_EQ(table.initial_scale, 1);
  EXPECT_EQ(table.initial_timestep, 150);
  EXPECT_DOUBLE_EQ(table.initial_alpha_bar, schedule().alpha_bar(150));
  EXPECT_DOUBLE_EQ(table.initial_sigma, schedule().sigma(150));
  EXPECT_FALSE(table.fractional_times);
  const double states[] = {100, 50, 0, -1};
  for (size_t i = 0; i < 4; ++i) {
    const Row& row = table.rows[i];
    EXPECT_TRUE(row.denoise);
    EXPECT_TRUE(row.completes_step);
    EXPECT_EQ(row.step, i + 1);
    EXPECT_EQ(row.state_timestep, states[i]);
    EXPECT_DOUBLE_EQ(row.state_alpha_bar,
                     i < 3 ? schedule().alpha_bar(static_cast<int64_t>(states[i])) : 1);
    EXPECT_DOUBLE_EQ(row.state_sigma, std::sqrt(1 - row.state_alpha_bar));
  }
}

}  // namespace
}  // namespace denoise
