// DDIM tables against closed forms for Gaussian data, and against DDPM.
#include <gtest/gtest.h>

#include <cmath>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/sampler.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

constexpr int64_t kTrainSteps = 1000;
constexpr Prediction kPredictions[] = {Prediction::kEpsilon, Prediction::kV, Prediction::kSample};

class DdimTest : public ::testing::Test {
 protected:
  DdimTest() {
    config_.default_sampler = SamplerKind::kDdim;
    config_.betas = MakeBetas(BetaSchedule::kLinear, kTrainSteps, 0.0001, 0.02);
    config_.clip_sample = false;
  }

  NoiseSchedule schedule() const { return NoiseSchedule(config_.betas); }
  Level LevelAt(double t) const { return Level(schedule().alpha_bar(static_cast<int64_t>(t))); }

  Table Make(const SamplerOptions& options, bool learned_variance = false) {
    auto table = MakeTable(config_, schedule(), learned_variance, options);
    EXPECT_TRUE(table.ok()) << table.status();
    return table.value_or(Table{});
  }

  // The end of the deterministic chain that starts at x.
  double Run(const Table& table, const GaussianData& data, double x) {
    Registers registers = {x};
    for (const Row& row : table.rows) {
      RunRow(row, data.Denoiser(config_.prediction, LevelAt(row.timestep), registers[0]), 0, 0,
             &registers);
    }
    return registers[0];
  }

  SchedulerConfig config_;
};

// x' = α' E[x_0|x] + σ' (x - α E[x_0|x])/σ, whatever the denoiser predicts.
TEST_F(DdimTest, DeterministicChainIsTheRecursion) {
  const GaussianData data = {.mean = 0.3, .variance = 0.25};
  for (const Prediction prediction : kPredictions) {
    config_.prediction = prediction;
    for (const bool set_alpha_to_one : {true, false}) {
      config_.set_alpha_to_one = set_alpha_to_one;
      for (const int64_t steps : {1, 7, 30, 50, 1000}) {
        const Table table = Make({.steps = static_cast<uint32_t>(steps)});
        EXPECT_FALSE(table.stochastic);
        const int64_t stride = kTrainSteps / steps;
        double x = 1.7;
        for (int64_t t = (steps - 1) * stride; t >= 0; t -= stride) {
          const Level from = LevelAt(static_cast<double>(t));
          const Level to(t >= stride        ? schedule().alpha_bar(t - stride)
                         : set_alpha_to_one ? 1
                                            : schedule().alpha_bar(0));
          const double x0 = data.PosteriorMean(from, x);
          x = to.alpha * x0 + to.sigma * (x - from.alpha * x0) / from.sigma;
        }
        EXPECT_NEAR(Run(table, data, 1.7), x, 1e-9) << steps;
      }
    }
  }
}

// The probability flow keeps (x - α m)/√(α²s²+σ²); DDIM is a first-order method for it, so its
// error halves with twice the steps.
TEST_F(DdimTest, ConvergesToTheProbabilityFlowAtFirstOrder) {
  const GaussianData data = {.mean = 0.3, .variance = 0.25};
  const auto error = [&](uint32_t steps) {
    const Table table = Make({.steps = steps, .spacing = Spacing::kLeading});
    const Level start(table.initial_alpha_bar);
    const double exact =
        data.mean + std::sqrt(data.variance / data.VarianceAt(start)) * (1.7 - data.MeanAt(start));
    return std::abs(Run(table, data, 1.7) - exact);
  };
  EXPECT_LT(error(1000), 5e-3);
  EXPECT_NEAR(error(100) / error(200), 2, 0.3);
  EXPECT_NEAR(error(200) / error(500), 2.5, 0.4);
}

// For one point of data every η has the forward process's marginals (Song et al. 2021, lemma 1).
TEST_F(DdimTest, AnyEtaIsExactForAPoint) {
  const GaussianData data = {.mean = 0.8, .variance = 0};
  for (const Prediction prediction : kPredictions) {
    config_.prediction = prediction;
    for (const Spacing spacing : {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace}) {
      for (const double eta : {0.0, 0.3, 1.0}) {
        const Table table = Make({.steps = 30, .eta = eta, .spacing = spacing});
        EXPECT_EQ(table.stochastic, eta > 0);
        for (const Row& row : table.rows) {
          const Level from = LevelAt(row.timestep);
          const Level to(row.state_alpha_bar);
          const Moments after = Advance(
              row, [&](double x) { return data.Denoiser(prediction, from, x); }, 0,
              AllEqual(data.MeanAt(from), data.VarianceAt(from)));
          ASSERT_NEAR(after.mean[0], data.MeanAt(to), 1e-9);
          // η > 0 splits σ'² in float32.
          ASSERT_NEAR(after.covariance[0][0], data.VarianceAt(to), eta > 0 ? 2e-7 : 1e-9);
        }
      }
    }
  }
}

TEST_F(DdimTest, EtaOneIsDdpmWithFixedSmallVariance) {
  for (const Prediction prediction : kPredictions) {
    config_.prediction = prediction;
    const Table ddim = Make({.kind = SamplerKind::kDdim, .steps = 50, .eta = 1});
    const Table ddpm = Make({.kind = SamplerKind::kDdpm, .steps = 50});
    for (size_t i = 0; i < ddim.rows.size(); ++i) {
      for (const double x : {-1.0, 2.0}) {
        for (const double out : {-0.5, 0.7}) {
          // DDPM has no draw on the last row, where DDIM's has no weight.
          Registers a = {x}, b = {x};
          RunRow(ddim.rows[i], out, 0, 0.4, &a);
          RunRow(ddpm.rows[i], out, 0, 0.4, &b);
          EXPECT_NEAR(a[0], b[0], 1e-5 * std::max(1.0, std::abs(b[0]))) << i;
        }
      }
    }
  }
}

TEST_F(DdimTest, DrawsNoiseOnEveryRowOnlyForEta) {
  for (const Row& row : Make({.steps = 10}).rows) EXPECT_FALSE(row.noise);
  const Table table = Make({.steps = 10, .eta = 0.5});
  for (const Row& row : table.rows) EXPECT_TRUE(row.noise);
  // The last is drawn and not used: the count of draws is that of the library.
  EXPECT_EQ(table.rows.back().w[kColX][kColZ], 0);
}

TEST_F(DdimTest, EpsilonIsTheDenoisersUnlessTheClippedOneIsAskedFor) {
  for (const Prediction prediction : kPredictions) {
    config_.prediction = prediction;
    const SamplerOptions options = {.steps = 10, .clip_sample = true, .clip_sample_range = 0.5};
    SamplerOptions clipped = options;
    clipped.use_clipped_model_output = true;
    const Table own = Make(options);
    const Table derived = Make(clipped);
    for (size_t i = 0; i < own.rows.size(); ++i) {
      const Level from = LevelAt(own.rows[i].timestep);
      const Level to(own.rows[i].state_alpha_bar);
      // What a denoiser that believes in x_0 = 2 says of x = 0.3.
      const double x = 0.3;
      const double epsilon = (x - from.alpha * 2) / from.sigma;
      const double out = GaussianData{.mean = 2, .variance = 0}.Denoiser(prediction, from, x);
      Registers a = {x}, b = {x};
      EXPECT_EQ(RunRow(own.rows[i], out, 0, 0, &a), 0.5);
      EXPECT_EQ(RunRow(derived.rows[i], out, 0, 0, &b), 0.5);
      EXPECT_NEAR(a[0], to.alpha * 0.5 + to.sigma * epsilon, 1e-9);
      EXPECT_NEAR(b[0], to.alpha * 0.5 + to.sigma * (x - from.alpha * 0.5) / from.sigma, 1e-9);
    }
  }
}

TEST_F(DdimTest, RowsGoDownByTheStrideAndNotToTheNextTime) {
  // Times 999, 666, 333, 0; the stride is 250.
  const Table table = Make({.steps = 4, .spacing = Spacing::kLinspace});
  const double times[] = {999, 666, 333, 0};
  const double states[] = {749, 416, 83, -1};
  for (size_t i = 0; i < 4; ++i) {
    const Row& row = table.rows[i];
    EXPECT_EQ(row.timestep, times[i]);
    EXPECT_EQ(row.step, i + 1);
    EXPECT_TRUE(row.completes_step);
    EXPECT_EQ(row.state_timestep, states[i]);
    EXPECT_DOUBLE_EQ(row.state_alpha_bar, i < 3 ? LevelAt(states[i]).alpha_bar : 1);
    EXPECT_DOUBLE_EQ(row.state_sigma, std::sqrt(1 - row.state_alpha_bar));
  }
  EXPECT_EQ(table.initial_timestep, 999);
  EXPECT_DOUBLE_EQ(table.initial_alpha_bar, LevelAt(999).alpha_bar);
}

TEST_F(DdimTest, EndsAtTheFirstLevelIfAlphaIsNotSetToOne) {
  config_.set_alpha_to_one = false;
  const Row last = Make({.steps = 10}).rows.back();
  EXPECT_EQ(last.state_timestep, -1);
  EXPECT_DOUBLE_EQ(last.state_alpha_bar, schedule().alpha_bar(0));
  // From t = 0 to the level of t = 0: nothing changes.
  Registers x = {0.9};
  RunRow(last, 0.37, 0, 0, &x);
  EXPECT_NEAR(x[0], 0.9, 1e-12);
}

TEST_F(DdimTest, IgnoresTheSecondChannels) {
  config_.variance = Variance::kLearnedRange;
  for (const bool learned_variance : {true, false}) {
    for (const Row& row : Make({.steps = 5, .eta = 1}, learned_variance).rows) {
      EXPECT_EQ(row.variance, RowVariance::kNone);
    }
  }
}

}  // namespace
}  // namespace denoise
