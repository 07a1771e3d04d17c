// Rows that blend, and RePaint's resampling.
#include "server/diffusion/inpainting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/sampler.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr SamplerKind kRepeatable[] = {SamplerKind::kDdpm, SamplerKind::kDdim, SamplerKind::kEuler,
                                       SamplerKind::kEulerAncestral};

class InpaintingTest : public ::testing::Test {
 protected:
  InpaintingTest() {
    config_.betas = MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02);
    config_.clip_sample = false;
  }

  Table Make(const SamplerOptions& options) {
    auto table = MakeTable(config_, ScheduleOf(config_), false, options);
    EXPECT_TRUE(table.ok()) << table.status();
    return table.value_or(Table{});
  }

  void ExpectRefused(const SamplerOptions& options, const std::string& field,
                     const std::string& message) {
    const absl::Status status = MakeTable(config_, ScheduleOf(config_), false, options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(FieldOf(status), field) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  SchedulerConfig config_;
};

TEST_F(InpaintingTest, EveryRowBlendsAtItsOwnLevelAndTheLastWithTheImage) {
  for (const SamplerKind kind : AllSamplers()) {
    const Table plain = Make({.kind = kind, .steps = 8});
    const Table table = Make({.kind = kind, .steps = 8, .inpainting = true});
    ASSERT_EQ(table.rows.size(), plain.rows.size());
    EXPECT_TRUE(table.keeps_noise);
    EXPECT_FALSE(plain.keeps_noise);
    // A draw that is kept is none that is made.
    EXPECT_EQ(table.stochastic, plain.stochastic) << Name(kind);
    for (size_t i = 0; i + 1 < table.rows.size(); ++i) {
      const Row& row = table.rows[i];
      EXPECT_EQ(row.blend, Blend::kKeptNoise);
      EXPECT_EQ(row.blend_alpha, std::sqrt(row.state_alpha_bar));
      EXPECT_EQ(row.blend_sigma, row.state_sigma);
      EXPECT_EQ(row.w, plain.rows[i].w);
      EXPECT_EQ(plain.rows[i].blend, Blend::kNone);
    }
    EXPECT_EQ(table.rows.back().blend, Blend::kKnown);
    EXPECT_EQ(table.rows.back().blend_alpha, 1);
    EXPECT_EQ(table.rows.back().blend_sigma, 0);
  }
}

TEST_F(InpaintingTest, ResamplingGoesBackWhereTheAuthorsListDoes) {
  const Table table = Make({.kind = SamplerKind::kEuler,
                            .steps = 4,
                            .spacing = Spacing::kLeading,
                            .inpainting = true,
                            .jump_length = 2,
                            .jump_samples = 2});
  const struct {
    bool denoise;
    double timestep;
    double state_timestep;
    uint32_t step;
    Blend blend;
  } rows[] = {
      {true, 750, 500, 1, Blend::kFreshNoise}, {true, 500, 250, 2, Blend::kFreshNoise},
      {true, 250, 0, 3, Blend::kFreshNoise},   {false, 500, 500, 4, Blend::kNone},
      {true, 500, 250, 4, Blend::kFreshNoise}, {true, 250, 0, 5, Blend::kFreshNoise},
      {true, 0, -1, 6, Blend::kKnown},
  };
  ASSERT_EQ(table.rows.size(), std::size(rows));
  EXPECT_EQ(table.total_steps, 6u);
  for (size_t i = 0; i < std::size(rows); ++i) {
    const Row& row = table.rows[i];
    EXPECT_EQ(row.denoise, rows[i].denoise) << i;
    EXPECT_EQ(row.completes_step, rows[i].denoise);
    EXPECT_EQ(row.timestep, rows[i].timestep);
    EXPECT_EQ(row.state_timestep, rows[i].state_timestep);
    EXPECT_EQ(row.step, rows[i].step);
    EXPECT_EQ(row.blend, rows[i].blend);
  }
  // Of a sampler without noise of its own: that of the known part is drawn afresh.
  EXPECT_TRUE(table.stochastic);
  EXPECT_FALSE(table.keeps_noise);

  const Row& back = table.rows[3];
  const double kept = table.rows[0].state_alpha_bar / table.rows[2].state_alpha_bar;
  EXPECT_EQ(back.w[kColX][kColX], std::sqrt(kept));
  EXPECT_NEAR(back.w[kColX][kColZ], std::sqrt(1 - kept), 1e-12);  // As α² + σ² = 1.
  EXPECT_TRUE(back.noise);
  EXPECT_EQ(back.state_sigma, table.rows[0].state_sigma);
}

// For a point of data every row leaves x distributed as its level says, whether it goes on or back.
TEST_F(InpaintingTest, RowsThatGoBackAreTheForwardProcess) {
  const GaussianData data = {.mean = 0.8, .variance = 0};
  for (const SamplerKind kind : kRepeatable) {
    const Table table = Make({.kind = kind,
                              .steps = 20,
                              .spacing = Spacing::kLeading,
                              .inpainting = true,
                              .jump_length = 6,
                              .jump_samples = 4});
    Level level(table.initial_alpha_bar);
    Moments moments = AllEqual(data.MeanAt(level), data.VarianceAt(level));
    uint32_t step = 0;
    for (const Row& row : table.rows) {
      const Level from = level;
      moments = Advance(
          row, [&](double x) { return data.Denoiser(config_.prediction, from, x); }, 0, moments);
      level = StateLevel(row);
      ASSERT_NEAR(moments.mean[0], data.MeanAt(level), 1e-5) << Name(kind) << row.step;
      // A variance that diffusers splits in float32 for DDIM.
      ASSERT_NEAR(moments.covariance[0][0], data.VarianceAt(level), 1e-5);
      if (row.completes_step) {
        ASSERT_EQ(row.step, ++step);
      }
    }
    // 1, 7 and 13 steps left, three times each.
    EXPECT_EQ(step, 20u + 3 * 3 * 6);
    EXPECT_EQ(table.total_steps, step);
    EXPECT_EQ(table.rows.size(), step + 9);
  }
}

TEST_F(InpaintingTest, RowsThatGoBackOnAFlowModelsLineToo) {
  config_ = *ParseSchedulerConfig(R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})");
  const GaussianData data = {.mean = 0.8, .variance = 0};
  for (const SamplerKind kind : {SamplerKind::kEuler, SamplerKind::kEulerAncestral}) {
    const Table table = Make({.kind = kind,
                              .steps = 10,
                              .inpainting = true,
                              .jump_length = 3,  // From 7 left to the start, where σ is 1.
                              .jump_samples = 2});
    EXPECT_EQ(table.total_steps, 10u + 3 * 3);
    Level level = Level::OfFlow(table.initial_sigma);
    Moments moments = AllEqual(data.MeanAt(level), data.VarianceAt(level));
    for (const Row& row : table.rows) {
      const Level from = level;
      moments = Advance(
          row, [&](double x) { return data.Denoiser(Prediction::kFlow, from, x); }, 0, moments);
      level = Level::OfFlow(row.state_sigma);
      ASSERT_NEAR(moments.mean[0], data.MeanAt(level), 1e-6) << Name(kind) << row.step;
      ASSERT_NEAR(moments.covariance[0][0], data.VarianceAt(level), 1e-6);
    }
  }
}

TEST_F(InpaintingTest, BeginsAtAnImageToo) {
  const Table table = Make({.kind = SamplerKind::kDdpm,
                            .steps = 10,
                            .strength = 0.5,
                            .inpainting = true,
                            .jump_length = 4,
                            .jump_samples = 2});
  EXPECT_EQ(table.total_steps, 5u + 4);
  EXPECT_EQ(table.initial_timestep, 400);
  EXPECT_EQ(table.rows[4].state_timestep, 400);  // From one step left, back to the start.
}

TEST_F(InpaintingTest, RefusesResamplingOfSamplersThatRemember) {
  for (const SamplerKind kind : AllSamplers()) {
    const bool repeatable =
        std::find(std::begin(kRepeatable), std::end(kRepeatable), kind) != std::end(kRepeatable);
    const SamplerOptions options = {
        .kind = kind, .steps = 10, .inpainting = true, .jump_length = 2, .jump_samples = 3};
    if (repeatable) {
      EXPECT_GT(Make(options).total_steps, 10u);
    } else {
      ExpectRefused(options, "inpainting.jump_samples", "Choose ddpm, ddim, euler");
    }
  }
}

TEST_F(InpaintingTest, RefusesJumpsThatMeanNothing) {
  const auto options = [](uint32_t steps, uint32_t length, uint32_t samples) {
    return SamplerOptions{
        .steps = steps, .inpainting = true, .jump_length = length, .jump_samples = samples};
  };
  ExpectRefused(options(10, 0, 2), "inpainting.jump_length", "0 is not in 1..9");
  ExpectRefused(options(10, 10, 2), "inpainting.jump_length", "10 is not in 1..9");
  ExpectRefused(options(10, 3, 0), "inpainting.jump_length", "3 does nothing without");
  ExpectRefused(options(10, 3, 1), "inpainting.jump_length", "3 does nothing without");
  ExpectRefused(options(1, 1, 2), "inpainting.jump_samples", "a chain of one step");
  SamplerOptions without_mask = options(10, 3, 2);
  without_mask.inpainting = false;
  ExpectRefused(without_mask, "inpainting.jump_samples", "2 does nothing without a mask");
  EXPECT_EQ(Make(options(10, 0, 1)).total_steps, 10u);
  EXPECT_GT(Make(options(10, 9, 2)).total_steps, 10u);
}

TEST_F(InpaintingTest, BoundsTheNumberOfRows) {
  // 10 steps, and 4 places (1, 3, 5 and 7 left) to go back from by 3 rows each.
  const auto options = [](uint32_t samples) {
    return SamplerOptions{
        .steps = 10, .inpainting = true, .jump_length = 2, .jump_samples = samples};
  };
  const uint32_t most = (kMaxResampledRows - 10) / (4 * 3) + 1;
  const Table table = Make(options(most));
  EXPECT_LE(table.rows.size(), kMaxResampledRows);
  EXPECT_GT(table.rows.size() + 4 * 3, kMaxResampledRows);
  ExpectRefused(options(most + 1), "inpainting.jump_samples",
                "longer than 16384 rows; give at most " + std::to_string(most));
  ExpectRefused(options(4294967295u), "inpainting.jump_samples", "give at most");
}

}  // namespace
}  // namespace denoise
