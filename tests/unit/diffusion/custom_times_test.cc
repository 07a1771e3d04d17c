// Times of the caller's own in place of a grid.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/sampler.h"
#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

class CustomTimesTest : public ::testing::Test {
 protected:
  CustomTimesTest() { config_.betas = MakeBetas(BetaSchedule::kLinear, 100, 0.001, 0.1); }

  absl::StatusOr<Table> Make(const SamplerOptions& options) {
    return MakeTable(config_, ScheduleOf(config_), false, options);
  }

  void ExpectRefused(const SamplerOptions& options, const std::string& field,
                     const std::string& message) {
    const absl::Status status = Make(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(FieldOf(status), field) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  SchedulerConfig config_;
};

TEST_F(CustomTimesTest, AreTheTimesOfTheCallsOfEverySampler) {
  const std::vector<float> times = {99, 70, 64, 30, 11, 3};
  config_.skip_prk_steps = true;
  for (const SamplerSpec* spec : Samplers()) {
    const Table table = *Make({.kind = spec->kind, .timesteps = times});
    EXPECT_EQ(table.total_steps, 6u);
    EXPECT_EQ(table.initial_timestep, 99);
    std::vector<double> states;
    for (const Row& row : table.rows) {
      if (row.completes_step) states.push_back(row.state_timestep);
    }
    // From each to the next of the list, from the last to the end.
    EXPECT_THAT(states, ::testing::ElementsAre(70, 64, 30, 11, 3, -1)) << spec->name;
  }
}

TEST_F(CustomTimesTest, OfAGridGiveTheGridsTable) {
  config_.skip_prk_steps = true;
  for (const SamplerSpec* spec : Samplers()) {
    const Table grid = *Make({.kind = spec->kind, .steps = 10, .spacing = Spacing::kLeading});
    std::vector<float> times;
    for (const Row& row : grid.rows) {
      const auto time = static_cast<float>(row.timestep);
      if (times.empty() || time < times.back()) times.push_back(time);
    }
    config_.spacing = Spacing::kLeading;  // Of the initial scale.
    const Table listed = *Make({.kind = spec->kind, .timesteps = times});
    ASSERT_EQ(listed.rows.size(), grid.rows.size()) << spec->name;
    EXPECT_EQ(listed.initial_scale, grid.initial_scale);
    for (size_t i = 0; i < grid.rows.size(); ++i) {
      EXPECT_EQ(listed.rows[i].w, grid.rows[i].w) << spec->name << " row " << i;
      EXPECT_EQ(listed.rows[i].state_timestep, grid.rows[i].state_timestep);
    }
  }
}

TEST_F(CustomTimesTest, ReplaceTheSigmasOfTheFile) {
  config_.sigmas = Sigmas::kKarras;
  const Table table = *Make({.kind = SamplerKind::kEuler, .timesteps = {90, 50.5F, 10}});
  EXPECT_EQ(table.rows[1].timestep, 50.5);
  EXPECT_TRUE(table.fractional_times);
  // Linear in sigma/alpha between the whole times.
  const NoiseSchedule schedule(config_.betas);
  const auto ratio = [&](int64_t t) { return schedule.sigma(t) / schedule.alpha(t); };
  EXPECT_NEAR(table.rows[1].noise_ratio, (ratio(50) + ratio(51)) / 2, 1e-6);
}

TEST_F(CustomTimesTest, RefusesWhatIsNoListOfTimes) {
  ExpectRefused({.timesteps = {50, 60}}, "sampler.timesteps[1]", "60 is not below the time before");
  ExpectRefused({.timesteps = {50, 40, 40}}, "sampler.timesteps[2]", "strictly descending");
  ExpectRefused({.timesteps = {100, 50}}, "sampler.timesteps[0]", "100 is not in 0..99");
  ExpectRefused({.timesteps = {50, -1}}, "sampler.timesteps[1]", "-1 is not in 0..99");
  for (const float bad : {kNan, kInf, -kInf}) {
    ExpectRefused({.timesteps = {50, bad}}, "sampler.timesteps[1]", "is not in 0..99");
  }
  ExpectRefused({.timesteps = std::vector<float>(101, 1)}, "sampler.timesteps",
                "101 times are more than the 100");
  for (const SamplerKind kind : {SamplerKind::kDdpm, SamplerKind::kDdim, SamplerKind::kPndm}) {
    ExpectRefused({.kind = kind, .timesteps = {50, 20.5F}}, "sampler.timesteps[1]",
                  "20.5 is not a whole number");
  }
  EXPECT_TRUE(Make({.timesteps = {0}}).ok());
}

// Its time is T σ, and begins at T.
TEST_F(CustomTimesTest, OfAFlowModelReachToTheirNumber) {
  config_ = *ParseSchedulerConfig(R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})");
  const Table table = *Make({.timesteps = {1000, 700, 250.5F}});
  EXPECT_EQ(table.initial_timestep, 1000);
  EXPECT_EQ(table.initial_sigma, 1);
  EXPECT_NEAR(table.rows[0].state_sigma, 0.7, 1e-7);
  EXPECT_NEAR(table.rows[1].state_sigma, 0.2505, 1e-7);
  EXPECT_EQ(table.rows[2].state_sigma, 0);
  ExpectRefused({.timesteps = {1000.5F, 700}}, "sampler.timesteps[0]",
                "1000.5 is not above 0 and at most 1000");
  // Nothing is left to do at σ = 0.
  ExpectRefused({.timesteps = {500, 0}}, "sampler.timesteps[1]", "0 is not above 0");
}

TEST_F(CustomTimesTest, RefusesASecondWordOnTheTimes) {
  ExpectRefused({.steps = 2, .timesteps = {50, 20}}, "sampler.timesteps",
                "together with sampler.steps 2");
  ExpectRefused({.spacing = Spacing::kTrailing, .timesteps = {50, 20}}, "sampler.timesteps",
                "together with sampler.timestep_spacing trailing");
  ExpectRefused({.kind = SamplerKind::kEuler, .sigmas = Sigmas::kSchedule, .timesteps = {50, 20}},
                "sampler.timesteps", "together with sampler.sigmas schedule");
}

TEST_F(CustomTimesTest, RefusesTimesOfOneLevel) {
  ExpectRefused({.kind = SamplerKind::kEuler, .timesteps = {50, 1, std::nextafter(1.0F, 0.0F)}},
                "sampler.timesteps", "noise levels coincide");
}

}  // namespace
}  // namespace denoise
