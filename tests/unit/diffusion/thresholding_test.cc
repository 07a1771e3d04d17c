// Dynamic thresholding: which rows do it, by whose word, and what it does not go with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/sampler.h"
#include "server/diffusion/samplers/samplers.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

class ThresholdingTest : public ::testing::Test {
 protected:
  ThresholdingTest() {
    config_.betas = MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02);
    config_.dynamic_thresholding_ratio = 0.9;
    config_.sample_max_value = 2;
  }

  absl::StatusOr<Table> TryMake(const SamplerOptions& options) {
    return MakeTable(config_, ScheduleOf(config_), false, options);
  }
  Table Make(const SamplerOptions& options) {
    auto table = TryMake(options);
    EXPECT_TRUE(table.ok()) << table.status();
    return table.value_or(Table{});
  }
  void ExpectRefused(const SamplerOptions& options, const std::string& field,
                     const std::string& message) {
    const absl::Status status = TryMake(options).status();
    EXPECT_EQ(FieldOf(status), field) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  SchedulerConfig config_;
};

TEST_F(ThresholdingTest, AFilesCountsForTheClassesThatKnowIt) {
  config_.thresholding = true;
  for (const SamplerKind kind : AllSamplers()) {
    const bool knows = kind == SamplerKind::kDdpm || kind == SamplerKind::kDdim ||
                       kind == SamplerKind::kDpmpp2M || kind == SamplerKind::kSdeDpmpp2M ||
                       kind == SamplerKind::kDpmpp3M || kind == SamplerKind::kUniPc ||
                       kind == SamplerKind::kDeis;
    for (const Row& row : Make({.kind = kind, .steps = 5}).rows) {
      EXPECT_EQ(row.threshold, knows) << Name(kind);
      if (!knows) continue;
      EXPECT_FALSE(row.clip);
      EXPECT_EQ(row.threshold_ratio, 0.9);
      EXPECT_EQ(row.threshold_max, 2);
    }
    for (const Row& row : Make({.kind = kind, .steps = 5, .thresholding = false}).rows) {
      EXPECT_FALSE(row.threshold);
      EXPECT_EQ(row.clip, SpecOf(kind).clip_sample);
    }
  }
}

TEST_F(ThresholdingTest, ARequestsCountsForEverySampler) {
  for (const SamplerKind kind : AllSamplers()) {
    for (const auto prediction : {Prediction::kEpsilon, Prediction::kV, Prediction::kSample}) {
      config_.prediction = prediction;
      const Table table = Make({.kind = kind, .steps = 5, .thresholding = true});
      for (const Row& row : table.rows) EXPECT_TRUE(row.threshold && !row.clip) << Name(kind);
      // x̂0 of 1.5 and of 1.7 are within the bound of 2, and both become 1.
      const Level level(table.initial_alpha_bar);
      Registers a{}, b{};
      a.fill(0.5);
      b.fill(0.5);
      const auto believing_in = [&](double x0) {
        return GaussianData{.mean = x0, .variance = 0}.Denoiser(prediction, level, 0.5);
      };
      EXPECT_NEAR(RunRow(table.rows[0], believing_in(1.5), 0, 0, &a), 1, 1e-12);
      EXPECT_NEAR(RunRow(table.rows[0], believing_in(1.7), 0, 0, &b), 1, 1e-12);
      // The first row of all but DDIM, whose ε stays the denoiser's, uses nothing else.
      if (kind != SamplerKind::kDdim) {
        EXPECT_NEAR(a[0], b[0], 1e-12) << Name(kind);
      }
    }
  }
}

TEST_F(ThresholdingTest, TakesThePlaceOfClipping) {
  ExpectRefused({.kind = SamplerKind::kDdim, .steps = 5, .clip_sample = true, .thresholding = true},
                "sampler.clip_sample", "set sampler.thresholding to false");
  ExpectRefused(
      {.kind = SamplerKind::kDdim, .steps = 5, .clip_sample_range = 2, .thresholding = true},
      "sampler.clip_sample_range", "x_0 is thresholded");
  config_.thresholding = true;
  ExpectRefused({.kind = SamplerKind::kDdim, .steps = 5, .clip_sample = true},
                "sampler.clip_sample", "x_0 is thresholded");
  EXPECT_TRUE(
      Make({.kind = SamplerKind::kDdim, .steps = 5, .clip_sample = true, .thresholding = false})
          .rows[0]
          .clip);
  // Bounded is bounded, for what is derived from x̂0.
  EXPECT_TRUE(
      TryMake({.kind = SamplerKind::kDdim, .steps = 5, .use_clipped_model_output = true}).ok());
}

}  // namespace
}  // namespace denoise
