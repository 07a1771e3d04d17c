// The solvers' tables against closed forms for Gaussian data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/sampler.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr Prediction kPredictions[] = {Prediction::kEpsilon, Prediction::kV, Prediction::kSample};
constexpr SamplerKind kSolvers[] = {
    SamplerKind::kEuler,      SamplerKind::kEulerAncestral,
    SamplerKind::kHeun,       SamplerKind::kDpmpp2M,
    SamplerKind::kSdeDpmpp2M, SamplerKind::kDpmpp3M,
    SamplerKind::kUniPc,      SamplerKind::kLms,
    SamplerKind::kPndm,       SamplerKind::kDeis,
};

class SolversTest : public ::testing::Test {
 protected:
  SolversTest() { config_.betas = MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02); }

  Table Make(const SamplerOptions& options) {
    auto table = MakeTable(config_, NoiseSchedule(config_.betas), false, options);
    EXPECT_TRUE(table.ok()) << table.status();
    return table.value_or(Table{});
  }

  SchedulerConfig config_;
};

// For one point of data the flow is a straight line, on which every solver is exact, and so is the
// posterior that the stochastic ones draw from.
TEST_F(SolversTest, AreExactForAPoint) {
  const GaussianData data = {.mean = 0.8, .variance = 0};
  for (const SamplerKind kind : kSolvers) {
    for (const Prediction prediction : kPredictions) {
      config_.prediction = prediction;
      for (const Spacing spacing : {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace}) {
        // PLMS goes down by the stride and not to the next time, unless that is leading.
        if (kind == SamplerKind::kPndm && spacing != Spacing::kLeading) continue;
        // Nor is a v the same along the line, of which it takes means.
        if (kind == SamplerKind::kPndm && prediction == Prediction::kV) continue;
        // An even stride, half of which PNDM's Runge-Kutta steps go.
        const Table table = Make({.kind = kind, .steps = 20, .spacing = spacing});
        Level level = Level(table.initial_alpha_bar);
        Moments moments = AllEqual(data.MeanAt(level), data.VarianceAt(level));
        for (const Row& row : table.rows) {
          const Level from = level;
          moments = Advance(
              row, [&](double x) { return data.Denoiser(prediction, from, x); }, 0, moments);
          level = StateLevel(row);
          ASSERT_NEAR(moments.mean[0], data.MeanAt(level), 1e-5) << Name(kind) << row.step;
          ASSERT_NEAR(moments.covariance[0][0], data.VarianceAt(level), 1e-5)
              << Name(kind) << row.step;
        }
      }
    }
  }
}

TEST_F(SolversTest, ConvergeAtTheirOrders) {
  config_.final_sigma = FinalSigma::kSigmaMin;
  const struct {
    SamplerKind kind;
    double ratio_min;  // Of the errors with 100 and with 200 steps.
    double ratio_max;
    double error_max;  // With 200 steps.
  } cases[] = {
      {SamplerKind::kEuler, 1.9, 2.1, 2e-2},   {SamplerKind::kHeun, 3.8, 4.2, 3e-4},
      {SamplerKind::kDpmpp2M, 3.8, 4.6, 4e-3}, {SamplerKind::kDpmpp3M, 7, 9, 2e-3},
      {SamplerKind::kUniPc, 3.2, 4.2, 2e-4},   {SamplerKind::kLms, 7, 10, 1e-6},
      {SamplerKind::kDeis, 3, 5, 1e-3},
  };
  for (const auto& [kind, ratio_min, ratio_max, error_max] : cases) {
    for (const Prediction prediction : kPredictions) {
      config_.prediction = prediction;
      const auto error = [&, kind = kind](uint32_t steps) {
        return FlowError(Make({.kind = kind, .steps = steps, .spacing = Spacing::kTrailing}),
                         prediction);
      };
      const double ratio = error(100) / error(200);
      EXPECT_GT(ratio, ratio_min) << Name(kind);
      EXPECT_LT(ratio, ratio_max) << Name(kind);
      EXPECT_LT(error(200), error_max) << Name(kind);
    }
  }
}

// PLMS begins one stride below T and ends in a step from t = 0 to the level of t = 0, so that its
// errors with two numbers of steps are not those of one interval; they still fall.
TEST_F(SolversTest, PlmsIsFarCloserThanDdim) {
  // Of v, which turns along the path, it takes means all the same, and gains less.
  for (const Prediction prediction : {Prediction::kEpsilon, Prediction::kSample}) {
    config_.prediction = prediction;
    config_.clip_sample = false;
    config_.set_alpha_to_one = false;
    config_.skip_prk_steps = true;
    const auto error = [&](SamplerKind kind, uint32_t steps) {
      return FlowError(Make({.kind = kind, .steps = steps}), prediction);
    };
    EXPECT_LT(error(SamplerKind::kPndm, 50), error(SamplerKind::kDdim, 50) / 20);
    EXPECT_LT(error(SamplerKind::kPndm, 200), error(SamplerKind::kPndm, 100) / 2);
    EXPECT_LT(error(SamplerKind::kPndm, 200), 2e-4);
  }
}

TEST_F(SolversTest, HeunCallsTwiceAStepButForTheLast) {
  const Table table = Make({.kind = SamplerKind::kHeun, .steps = 4});
  ASSERT_EQ(table.rows.size(), 7u);
  EXPECT_EQ(table.registers, 2);
  EXPECT_EQ(table.total_steps, 4u);
  for (size_t i = 0; i < 7; ++i) {
    const Row& row = table.rows[i];
    EXPECT_EQ(row.step, i / 2 + 1);
    EXPECT_EQ(row.completes_step, i % 2 == 1 || i == 6);
    EXPECT_EQ(row.timestep, 999 - 333 * ((i + 1) / 2));
    EXPECT_EQ(row.state_timestep, i == 6 ? -1 : 666 - 333 * static_cast<double>(i / 2));
  }
  EXPECT_EQ(table.rows.back().state_alpha_bar, 1);
  EXPECT_EQ(table.rows.back().state_sigma, 0);
}

TEST_F(SolversTest, PlmsCallsTwiceForItsFirstStep) {
  config_.skip_prk_steps = true;
  const Table table = Make({.kind = SamplerKind::kPndm, .steps = 4});
  ASSERT_EQ(table.rows.size(), 5u);
  const double times[] = {750, 500, 500, 250, 0};
  const double states[] = {500, 500, 250, 0, -1};
  const uint32_t steps[] = {1, 1, 2, 3, 4};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(table.rows[i].timestep, times[i]);
    EXPECT_EQ(table.rows[i].state_timestep, states[i]);
    EXPECT_EQ(table.rows[i].step, steps[i]);
    EXPECT_EQ(table.rows[i].completes_step, i > 0);
  }
  // One step has nothing to take a mean of.
  EXPECT_EQ(Make({.kind = SamplerKind::kPndm, .steps = 1}).rows.size(), 1u);
}

TEST_F(SolversTest, StatesAreThoseOfTheGrid) {
  for (const SamplerKind kind : kSolvers) {
    if (kind == SamplerKind::kPndm || kind == SamplerKind::kHeun) continue;
    const Table table = Make({.kind = kind, .steps = 7});
    ASSERT_EQ(table.rows.size(), 7u);
    double alpha_bar = table.initial_alpha_bar;
    EXPECT_EQ(table.initial_timestep, table.rows[0].timestep);
    for (size_t i = 0; i < 7; ++i) {
      const Row& row = table.rows[i];
      EXPECT_EQ(row.step, i + 1);
      EXPECT_TRUE(row.completes_step);
      EXPECT_EQ(row.state_timestep, i < 6 ? table.rows[i + 1].timestep : -1);
      EXPECT_GT(row.state_alpha_bar, alpha_bar);
      EXPECT_NEAR(row.state_alpha_bar + row.state_sigma * row.state_sigma, 1, 1e-12);
      alpha_bar = row.state_alpha_bar;
    }
    // DEIS alone has no step to the level without noise.
    EXPECT_EQ(alpha_bar == 1, kind != SamplerKind::kDeis);
  }
}

TEST_F(SolversTest, OnlyFractionalTimesAreCalledSo) {
  EXPECT_TRUE(Make({.kind = SamplerKind::kEuler, .steps = 7}).fractional_times);
  EXPECT_FALSE(Make({.kind = SamplerKind::kEuler, .steps = 7, .spacing = Spacing::kLeading})
                   .fractional_times);
  EXPECT_TRUE(Make({.kind = SamplerKind::kEuler,
                    .steps = 7,
                    .spacing = Spacing::kLeading,
                    .sigmas = Sigmas::kKarras})
                  .fractional_times);
  for (const Sigmas sigmas : {Sigmas::kSchedule, Sigmas::kKarras, Sigmas::kBeta}) {
    EXPECT_FALSE(
        Make({.kind = SamplerKind::kDpmpp2M, .steps = 7, .sigmas = sigmas}).fractional_times);
  }
}

TEST_F(SolversTest, StartIsScaledWhereTheClassScalesIt) {
  for (const SamplerKind kind : kSolvers) {
    for (const Spacing spacing : {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace}) {
      const Table table = Make({.kind = kind, .steps = 10, .spacing = spacing});
      const bool scales = kind == SamplerKind::kEuler || kind == SamplerKind::kEulerAncestral ||
                          kind == SamplerKind::kHeun || kind == SamplerKind::kLms;
      EXPECT_EQ(table.initial_scale,
                scales && spacing != Spacing::kLeading ? table.initial_sigma : 1);
    }
  }
}

TEST_F(SolversTest, DrawNoiseOnEveryRowOrNever) {
  for (const SamplerKind kind : kSolvers) {
    const bool stochastic =
        kind == SamplerKind::kEulerAncestral || kind == SamplerKind::kSdeDpmpp2M;
    const Table table = Make({.kind = kind, .steps = 10});
    EXPECT_EQ(table.stochastic, stochastic);
    for (const Row& row : table.rows) EXPECT_EQ(row.noise, stochastic);
    EXPECT_EQ(table.rows.back().w[kColX][kColZ], 0);
  }
}

// The last row of DPM-Solver++ 2M uses the x̂0 before it unless something says that it must not.
TEST_F(SolversTest, LowerOrdersAtTheEnd) {
  const auto last_is_first_order = [&](uint32_t steps) {
    const Row last = Make({.kind = SamplerKind::kDpmpp2M, .steps = steps}).rows.back();
    return last.w[kColX][kColH1] == 0;
  };
  EXPECT_TRUE(last_is_first_order(20));  // To sigma 0.
  config_.final_sigma = FinalSigma::kSigmaMin;
  EXPECT_TRUE(last_is_first_order(14));
  EXPECT_FALSE(last_is_first_order(15));
  config_.lower_order_final = false;
  EXPECT_FALSE(last_is_first_order(14));
  config_.euler_at_final = true;
  EXPECT_TRUE(last_is_first_order(20));
  config_.solver_order = 1;
  for (const Row& row : Make({.kind = SamplerKind::kDpmpp2M, .steps = 20}).rows) {
    EXPECT_EQ(row.w[kColX][kColH1], 0);
  }
}

TEST_F(SolversTest, UniPcRefusesAHighOrderToSigmaZero) {
  config_.lower_order_final = false;
  const auto make = [&] {
    return MakeTable(config_, NoiseSchedule(config_.betas), false,
                     {.kind = SamplerKind::kUniPc, .steps = 10})
        .status();
  };
  EXPECT_EQ(FieldOf(make()), "sampler.kind");
  EXPECT_THAT(std::string(make().message()), HasSubstr("lower_order_final"));
  config_.final_sigma = FinalSigma::kSigmaMin;
  EXPECT_TRUE(make().ok());
  config_.final_sigma = FinalSigma::kZero;
  config_.solver_order = 1;
  EXPECT_TRUE(make().ok());
}

// Where a curve ends at sigma_min and so does the chain, the last step goes nowhere.
TEST_F(SolversTest, AStepBetweenEqualLevelsChangesNothing) {
  config_.final_sigma = FinalSigma::kSigmaMin;
  config_.solver_order = 3;
  for (const SamplerKind kind :
       {SamplerKind::kDpmpp2M, SamplerKind::kDpmpp3M, SamplerKind::kDeis}) {
    const Row last = Make({.kind = kind, .steps = 20, .sigmas = Sigmas::kKarras}).rows.back();
    Registers registers = {0.7, 0.1, -0.3, 0.2};
    RunRow(last, 0.4, 0, 0, &registers);
    EXPECT_NEAR(registers[0], 0.7, 1e-6) << Name(kind);
  }
  // UniPC still corrects: x is h1 and a share of the new x̂0.
  const Row last =
      Make({.kind = SamplerKind::kUniPc, .steps = 20, .sigmas = Sigmas::kKarras}).rows.back();
  EXPECT_EQ(last.w[kColX][kColH1], 1);
  EXPECT_EQ(last.w[kColX][kColX], 0);
}

// A variance that the denoiser gives is of no use to those that draw no noise; the noise of the
// others would contradict it.
TEST_F(SolversTest, IgnoreTheSecondChannels) {
  config_.variance = Variance::kLearnedRange;
  for (const SamplerKind kind : kSolvers) {
    for (const bool learned_variance : {true, false}) {
      const auto table = MakeTable(config_, NoiseSchedule(config_.betas), learned_variance,
                                   {.kind = kind, .steps = 5});
      if (learned_variance &&
          (kind == SamplerKind::kEulerAncestral || kind == SamplerKind::kSdeDpmpp2M)) {
        EXPECT_EQ(FieldOf(table.status()), "sampler.kind");
        continue;
      }
      ASSERT_TRUE(table.ok()) << table.status();
      for (const Row& row : table->rows) EXPECT_EQ(row.variance, RowVariance::kNone);
    }
  }
}

TEST_F(SolversTest, NoiseOfTheScheduleContradictsALearnedVariance) {
  const auto message = [&](SamplerKind kind) {
    return std::string(MakeTable(config_, NoiseSchedule(config_.betas), /*learned_variance=*/true,
                                 {.kind = kind, .steps = 5})
                           .status()
                           .message());
  };
  EXPECT_THAT(message(SamplerKind::kEulerAncestral), HasSubstr("choose euler, the same without"));
  EXPECT_THAT(message(SamplerKind::kSdeDpmpp2M), HasSubstr("choose dpmpp_2m, the same without"));
}

TEST_F(SolversTest, ClipWhereAskedTo) {
  for (const SamplerKind kind : kSolvers) {
    for (const Prediction prediction : kPredictions) {
      config_.prediction = prediction;
      // A file's clip_sample counts for the classes that know it.
      config_.clip_sample = true;
      const bool by_file = Make({.kind = kind, .steps = 5}).rows[0].clip;
      EXPECT_EQ(by_file, kind == SamplerKind::kHeun) << Name(kind);
      // The first row uses x̂0 and nothing else of the answer.
      const Row row = Make({.kind = kind, .steps = 5, .clip_sample = true}).rows[0];
      Registers a{}, b{};
      a.fill(0.5);
      b.fill(0.5);
      const Level level(Make({.kind = kind, .steps = 5}).initial_alpha_bar);
      const auto believing_in = [&](double x0) {
        return GaussianData{.mean = x0, .variance = 0}.Denoiser(prediction, level, 0.5);
      };
      EXPECT_EQ(RunRow(row, believing_in(5), 0, 0, &a), 1);
      EXPECT_EQ(RunRow(row, believing_in(9), 0, 0, &b), 1);
      EXPECT_NEAR(a[0], b[0], 1e-12) << Name(kind);
    }
  }
}

}  // namespace
}  // namespace denoise
