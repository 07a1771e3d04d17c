// Chains that begin at an image.
#include "server/diffusion/image_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/sampler.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

TEST(StepsOfStrengthTest, AreThoseOfTheNumberAsWritten) {
  const struct {
    int64_t steps;
    double strength;
    int64_t run;
  } cases[] = {
      {10, 0.7, 7},
      {10, 0.7F, 7},
      {10, 0.75, 7},
      {10, 1, 10},
      {1, 1, 1},
      {50, 0.1F, 5},
      {1000, 0.3, 300},
      {3, 1.0F / 3, 1},
      {3, 2.0F / 3, 2},
      // As int(100 * 0.29) in Python: the product is 28.999999999999996.
      {100, 0.29F, 28},
  };
  for (const auto& [steps, strength, run] : cases) {
    EXPECT_EQ(*StepsOfStrength(steps, strength), run) << steps << " " << strength;
  }
}

TEST(StepsOfStrengthTest, RefusesWhatIsNoShare) {
  for (const double strength : {0.0, -0.5, 1.001, std::numeric_limits<double>::quiet_NaN(),
                                std::numeric_limits<double>::infinity()}) {
    const absl::Status status = StepsOfStrength(10, strength).status();
    EXPECT_EQ(FieldOf(status), "image_to_image.strength");
    EXPECT_THAT(std::string(status.message()), HasSubstr("is not above 0 and at most 1"));
  }
  const absl::Status status = StepsOfStrength(10, 0.09).status();
  EXPECT_EQ(FieldOf(status), "image_to_image.strength");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("0.09 of 10 steps is less than one step; give at least 0.1"));
}

class ImageStartTest : public ::testing::Test {
 protected:
  ImageStartTest() {
    config_.betas = MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02);
    config_.skip_prk_steps = true;
  }

  Table Make(const SamplerOptions& options) {
    auto table = MakeTable(config_, ScheduleOf(config_), false, options);
    EXPECT_TRUE(table.ok()) << table.status();
    return table.value_or(Table{});
  }

  SchedulerConfig config_;
};

TEST_F(ImageStartTest, RunsTheLastStepsFromTheirFirstLevel) {
  for (const SamplerKind kind : AllSamplers()) {
    const Table whole = Make({.kind = kind, .steps = 20});
    const Table part = Make({.kind = kind, .steps = 20, .strength = 0.4});
    EXPECT_EQ(part.total_steps, 8u);
    EXPECT_EQ(part.rows.front().step, 1u);
    EXPECT_EQ(part.rows.back().step, 8u);
    // The state after step 12 of the whole chain is of the level that the part starts from, but
    // for those that go down by a stride beside their times (none, with leading spacing).
    const Row* before = nullptr;
    for (const Row& row : whole.rows) {
      if (row.step == 12 && row.completes_step) before = &row;
    }
    ASSERT_NE(before, nullptr);
    EXPECT_EQ(part.initial_timestep, before->state_timestep) << Name(kind);
    EXPECT_EQ(part.initial_alpha_bar, before->state_alpha_bar);
    EXPECT_EQ(part.initial_sigma, before->state_sigma);
    EXPECT_EQ(part.initial_timestep, part.rows.front().timestep);
    EXPECT_EQ(part.image_scale, std::sqrt(part.initial_alpha_bar));
    EXPECT_EQ(part.initial_scale, part.initial_sigma);
    EXPECT_EQ(part.rows.back().w, Make({.kind = kind, .steps = 20}).rows.back().w) << Name(kind);
  }
}

TEST_F(ImageStartTest, WithAllStepsStillStartsFromTheImage) {
  const Table table = Make({.kind = SamplerKind::kDdim, .steps = 20, .strength = 1});
  const NoiseSchedule schedule(config_.betas);
  EXPECT_EQ(table.total_steps, 20u);
  EXPECT_EQ(table.initial_timestep, 950);
  EXPECT_EQ(table.image_scale, schedule.alpha(950));
  EXPECT_EQ(table.initial_scale, schedule.sigma(950));
  // And without, from noise alone.
  EXPECT_EQ(Make({.kind = SamplerKind::kDdim, .steps = 20}).image_scale, 0);
}

TEST_F(ImageStartTest, OrdersAreCountedFromTheFirstRowRun) {
  for (const SamplerKind kind :
       {SamplerKind::kDpmpp2M, SamplerKind::kLms, SamplerKind::kUniPc, SamplerKind::kDeis}) {
    const Table table = Make({.kind = kind, .steps = 20, .strength = 0.5});
    // Registers other than x hold nothing yet.
    for (int h = kColH1; h < kColOut; ++h) EXPECT_EQ(table.rows[0].w[kColX][h], 0) << Name(kind);
  }
}

TEST_F(ImageStartTest, StridesAndOrdersAtTheEndAreThoseOfAllSteps) {
  const Table ddim = Make({.kind = SamplerKind::kDdim, .steps = 20, .strength = 0.1});
  EXPECT_EQ(ddim.rows[0].timestep, 50);
  EXPECT_EQ(ddim.rows[0].state_timestep, 0);
  // 20 steps, of which 10 are run, are not the fewer than 15 that end with lower orders.
  config_.final_sigma = FinalSigma::kSigmaMin;
  const auto uses_step_before = [&](uint32_t steps, double strength) {
    const Table table = Make({.kind = SamplerKind::kDpmpp2M, .steps = steps, .strength = strength});
    return table.rows.back().w[kColX][kColH1] != 0;
  };
  EXPECT_TRUE(uses_step_before(20, 0.5));
  EXPECT_FALSE(uses_step_before(10, 1));
}

TEST_F(ImageStartTest, WorksWithTheCallersTimes) {
  const Table table =
      Make({.kind = SamplerKind::kEuler, .timesteps = {900, 600, 300, 100.5F}, .strength = 0.5});
  EXPECT_EQ(table.total_steps, 2u);
  EXPECT_EQ(table.initial_timestep, 300);
  EXPECT_EQ(table.rows[0].state_timestep, 100.5);
}

TEST_F(ImageStartTest, OfAFlowModelIsOnItsLine) {
  config_ = *ParseSchedulerConfig(R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})");
  const Table table = Make({.steps = 10, .strength = 0.5});
  EXPECT_EQ(table.total_steps, 5u);
  EXPECT_GT(table.initial_scale, 0);
  EXPECT_NEAR(table.image_scale + table.initial_scale, 1, 1e-12);
  EXPECT_NEAR(table.initial_timestep, 1000 * table.initial_scale, 1e-4);
}

TEST_F(ImageStartTest, BadStepsAreRefusedAsEver) {
  for (const uint32_t steps : {0u, 1001u}) {
    const absl::Status status =
        MakeTable(config_, ScheduleOf(config_), false, {.steps = steps, .strength = 0.5}).status();
    EXPECT_EQ(FieldOf(status), "sampler.steps");
  }
}

}  // namespace
}  // namespace denoise
