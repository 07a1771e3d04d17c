#include "server/diffusion/forward_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr double kX0 = -0.7;

class ForwardProcessTest : public ::testing::Test {
 protected:
  const NoiseSchedule schedule_{MakeBetas(BetaSchedule::kLinear, 100, 0.001, 0.2)};

  // Runs the table from x_0 and checks every completed step against q(x_t|x_0).
  void ExpectMarginals(const Table& table, const std::vector<int64_t>& timesteps) {
    ASSERT_EQ(table.total_steps, timesteps.size());
    EXPECT_EQ(table.initial_timestep, -1);
    EXPECT_EQ(table.initial_alpha_bar, 1);
    EXPECT_EQ(table.initial_sigma, 0);
    EXPECT_EQ(table.initial_scale, 1);
    EXPECT_TRUE(table.stochastic);
    Moments moments = AllEqual(kX0, 0);
    size_t done = 0;
    for (const Row& row : table.rows) {
      EXPECT_FALSE(row.denoise);
      EXPECT_TRUE(row.noise);
      EXPECT_EQ(row.step, done + 1);
      moments = Advance(row, nullptr, 0, moments);
      const auto t = static_cast<int64_t>(row.state_timestep);
      EXPECT_NEAR(moments.mean[0], schedule_.alpha(t) * kX0, 1e-12);
      EXPECT_NEAR(moments.covariance[0][0], 1 - schedule_.alpha_bar(t), 1e-12);
      EXPECT_DOUBLE_EQ(row.state_alpha_bar, schedule_.alpha_bar(t));
      EXPECT_DOUBLE_EQ(row.state_sigma, schedule_.sigma(t));
      if (row.completes_step) {
        ASSERT_LT(done, timesteps.size());
        EXPECT_EQ(t, timesteps[done]);
        ++done;
      }
    }
    EXPECT_EQ(done, timesteps.size());
  }
};

TEST_F(ForwardProcessTest, ChainComposesToTheMarginals) {
  for (const std::vector<int64_t>& timesteps :
       {std::vector<int64_t>{99}, {0}, {0, 1, 2}, {3, 10, 50, 99}}) {
    const auto table = MakeForwardChain(schedule_, timesteps);
    ASSERT_TRUE(table.ok()) << table.status();
    EXPECT_EQ(static_cast<int64_t>(table->rows.size()), timesteps.back() + 1);
    EXPECT_EQ(table->registers, 1);
    ExpectMarginals(*table, timesteps);
  }
}

TEST_F(ForwardProcessTest, JumpsAreIndependentDraws) {
  const std::vector<int64_t> timesteps = {0, 10, 99};
  const auto table = MakeForwardJumps(schedule_, timesteps);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->rows.size(), timesteps.size());
  EXPECT_EQ(table->registers, 2);
  ExpectMarginals(*table, timesteps);
  // h1 stays x_0 itself, so nothing of one draw is in the next.
  Moments moments = AllEqual(kX0, 0);
  for (const Row& row : table->rows) {
    moments = Advance(row, nullptr, 0, moments);
    EXPECT_EQ(moments.mean[1], kX0);
    EXPECT_EQ(moments.covariance[1][1], 0);
  }
}

TEST_F(ForwardProcessTest, RefusesBadTimesteps) {
  const struct {
    std::vector<int64_t> timesteps;
    std::string message;
  } cases[] = {{{}, "none given"},
               {{-1}, "-1 at position 0 is not in 0..99"},
               {{5, 100}, "100 at position 1 is not in 0..99"},
               {{5, 5}, "5 at position 1 follows 5"},
               {{9, 4}, "4 at position 1 follows 9"}};
  for (const auto& [timesteps, message] : cases) {
    for (const auto& table :
         {MakeForwardChain(schedule_, timesteps), MakeForwardJumps(schedule_, timesteps)}) {
      EXPECT_EQ(table.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(FieldOf(table.status()), "timesteps");
      EXPECT_THAT(std::string(table.status().message()), HasSubstr(message));
    }
  }
}

TEST(ForwardProcessOfFlowTest, JumpsAlongTheLine) {
  const auto table = MakeForwardJumps(NoiseSchedule::OfFlow(10), {0, 4, 9});
  ASSERT_TRUE(table.ok()) << table.status();
  Moments moments = AllEqual(kX0, 0);
  for (const Row& row : table->rows) {
    moments = Advance(row, nullptr, 0, moments);
    const double sigma = (row.state_timestep + 1) / 10;
    EXPECT_NEAR(moments.mean[0], (1 - sigma) * kX0, 1e-12);
    EXPECT_NEAR(moments.covariance[0][0], sigma * sigma, 1e-12);
    EXPECT_DOUBLE_EQ(row.state_sigma, sigma);
    EXPECT_NEAR(row.state_alpha_bar, (1 - sigma) * (1 - sigma), 1e-12);
  }
}

TEST(ForwardProcessOfFlowTest, IsNoChain) {
  const absl::Status status = MakeForwardChain(NoiseSchedule::OfFlow(10), {0, 4, 9}).status();
  EXPECT_EQ(FieldOf(status), "chain");
  EXPECT_THAT(std::string(status.message()), HasSubstr("flow model"));
}

// With zero SNR the last transition keeps nothing.
TEST(ForwardProcessOfZeroSnrTest, EndsInNoiseAlone) {
  const NoiseSchedule schedule({0.5, 0.25, 1});
  for (const auto& table :
       {MakeForwardChain(schedule, {1, 2}), MakeForwardJumps(schedule, {1, 2})}) {
    ASSERT_TRUE(table.ok()) << table.status();
    Moments moments = AllEqual(kX0, 0);
    for (const Row& row : table->rows) moments = Advance(row, nullptr, 0, moments);
    EXPECT_EQ(moments.mean[0], 0);
    EXPECT_EQ(moments.covariance[0][0], 1);
  }
}

}  // namespace
}  // namespace denoise
