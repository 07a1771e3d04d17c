// PNDM's start by Runge-Kutta steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/sampler.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PndmTest : public ::testing::Test {
 protected:
  PndmTest() { config_.betas = MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02); }

  absl::StatusOr<Table> Make(SamplerOptions options) {
    options.kind = SamplerKind::kPndm;
    return MakeTable(config_, NoiseSchedule(config_.betas), false, options);
  }

  SchedulerConfig config_;
};

std::vector<double> Times(const Table& table) {
  std::vector<double> times;
  for (const Row& row : table.rows) times.push_back(row.timestep);
  return times;
}

TEST_F(PndmTest, StartsWithThreeStepsOfFourCallsUnlessTheFileSkipsThem) {
  const Table table = *Make({.steps = 5});
  EXPECT_THAT(Times(table),
              ElementsAre(800, 700, 700, 600, 600, 500, 500, 400, 400, 300, 300, 200, 200, 0));
  EXPECT_EQ(table.registers, 6);
  EXPECT_EQ(table.total_steps, 5u);
  const double states[] = {700, 700, 600, 600};
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const Row& row = table.rows[i];
    EXPECT_EQ(row.step, i < 12 ? i / 4 + 1 : i - 8);
    EXPECT_EQ(row.completes_step, i >= 12 || i % 4 == 3);
    if (i < 4) {
      EXPECT_EQ(row.state_timestep, states[i]);
      EXPECT_EQ(row.state_alpha_bar,
                NoiseSchedule(config_.betas).alpha_bar(static_cast<int64_t>(states[i])));
    }
  }
  EXPECT_EQ(table.rows.back().state_timestep, -1);

  config_.skip_prk_steps = true;
  EXPECT_THAT(Times(*Make({.steps = 5})), ElementsAre(800, 600, 600, 400, 200, 0));
  EXPECT_EQ(Make({.steps = 5})->registers, 4);
}

// Among an odd stride's halves the first row arrives beside the time of the second's call.
TEST_F(PndmTest, HalvesOfAnOddStrideAreRoundedDown) {
  const Table table = *Make({.steps = 8});  // Strides of 125.
  EXPECT_EQ(table.rows[0].timestep, 875);
  EXPECT_EQ(table.rows[0].state_timestep, 813);
  EXPECT_EQ(table.rows[1].timestep, 812);
  EXPECT_EQ(table.rows[1].state_timestep, 812);
  EXPECT_EQ(table.rows[2].state_timestep, 750);
}

TEST_F(PndmTest, HalvesTheWaysBetweenTheCallersTimes) {
  EXPECT_THAT(Times(*Make({.timesteps = {900, 500, 401, 100, 7}})),
              ElementsAre(900, 700, 700, 500, 500, 450, 450, 401, 401, 250, 250, 100, 100, 7));
}

TEST_F(PndmTest, NeedsFourSteps) {
  const auto expect_refused = [&](const SamplerOptions& options, const std::string& field,
                                  const std::string& message) {
    const absl::Status status = Make(options).status();
    EXPECT_EQ(FieldOf(status), field) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_THAT(std::string(status.message()), HasSubstr("run at least 4"));
  };
  expect_refused({.steps = 1}, "sampler.steps", "1 step is too few");
  expect_refused({.steps = 3}, "sampler.steps", "3 steps are too few");
  expect_refused({.timesteps = {900, 500, 100}}, "sampler.timesteps", "skip_prk_steps");
  // Those that are run count.
  expect_refused({.steps = 10, .strength = 0.3}, "sampler.steps", "3 steps are too few");
  EXPECT_TRUE(Make({.steps = 10, .strength = 0.4}).ok());
  EXPECT_TRUE(Make({.steps = 4}).ok());
  config_.skip_prk_steps = true;
  EXPECT_TRUE(Make({.steps = 1}).ok());
}

// One step of size h of a method of order 4 is off by h⁵, ten of half the size by far less.
TEST_F(PndmTest, FirstStepIsOfFourthOrder) {
  config_.clip_sample = false;
  const auto error_after_first_step = [&](uint32_t steps) {
    Table table = *Make({.steps = steps, .spacing = Spacing::kTrailing});
    table.rows.resize(4);
    return FlowError(table, Prediction::kEpsilon);
  };
  // Strides of 200 and 100.
  EXPECT_GT(error_after_first_step(5) / error_after_first_step(10), 8);
}

}  // namespace
}  // namespace denoise
