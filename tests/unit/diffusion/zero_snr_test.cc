// Tables on a schedule at whose end nothing is left of x_0.
#include <gtest/gtest.h>

#include <cmath>

#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/sampler.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

class ZeroSnrTest : public ::testing::Test {
 protected:
  ZeroSnrTest() {
    config_.betas = RescaleToZeroSnr(MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02));
    config_.prediction = Prediction::kV;
    config_.clip_sample = false;
    config_.skip_prk_steps = true;  // PNDM of few steps has no room for them.
  }

  Table Make(const SamplerOptions& options) {
    auto table = MakeTable(config_, ScheduleOf(config_), false, options);
    EXPECT_TRUE(table.ok()) << table.status();
    return table.value_or(Table{});
  }

  SchedulerConfig config_;
};

TEST_F(ZeroSnrTest, DdpmAndDdimBeginInNoiseAloneAndTheOthersAlmost) {
  for (const SamplerKind kind : AllSamplers()) {
    const Table table = Make({.kind = kind, .steps = 20, .spacing = Spacing::kTrailing});
    const bool alone = kind == SamplerKind::kDdpm || kind == SamplerKind::kDdim;
    EXPECT_EQ(table.initial_timestep, 999);
    EXPECT_NEAR(table.initial_alpha_bar, alone ? 0 : std::pow(2, -24), 1e-12) << Name(kind);
    EXPECT_NEAR(table.initial_scale, 1, 1e-6);
  }
}

TEST_F(ZeroSnrTest, TablesAreFinite) {
  for (const SamplerKind kind : AllSamplers()) {
    for (const auto prediction : {Prediction::kV, Prediction::kSample}) {
      config_.prediction = prediction;
      for (const uint32_t steps : {1u, 2u, 33u, 200u}) {
        const Table table = Make({.kind = kind,
                                  .steps = steps,
                                  .eta = kind == SamplerKind::kDdim ? 1.0 : 0.0,
                                  .spacing = Spacing::kTrailing});
        ASSERT_TRUE(std::isfinite(table.initial_scale));
        for (const Row& row : table.rows) {
          ASSERT_TRUE(std::isfinite(row.p) && std::isfinite(row.q));
          for (const auto& weights : row.w) {
            for (const double weight : weights) ASSERT_TRUE(std::isfinite(weight)) << Name(kind);
          }
        }
      }
    }
  }
}

// The posterior that DDPM draws from is exact for a point of data, also from no signal at all.
TEST_F(ZeroSnrTest, IsExactForAPoint) {
  const GaussianData data = {.mean = 0.8, .variance = 0};
  for (const SamplerKind kind : {SamplerKind::kDdpm, SamplerKind::kDdim, SamplerKind::kDpmpp2M,
                                 SamplerKind::kEuler, SamplerKind::kUniPc}) {
    const bool alone = kind == SamplerKind::kDdpm || kind == SamplerKind::kDdim;
    const Table table = Make({.kind = kind, .steps = 200, .spacing = Spacing::kTrailing});
    Level level(alone ? 0 : std::pow(2, -24));
    Moments moments = AllEqual(data.MeanAt(level), data.VarianceAt(level));
    for (const Row& row : table.rows) {
      const Level from = level;
      moments = Advance(
          row, [&](double x) { return data.Denoiser(Prediction::kV, from, x); }, 0, moments);
      level = row.state_sigma == 0
                  ? Level(1)
                  : Level::FromRatio(row.state_sigma / std::sqrt(row.state_alpha_bar));
      ASSERT_NEAR(moments.mean[0], data.MeanAt(level), 1e-5) << Name(kind) << row.step;
      ASSERT_NEAR(moments.covariance[0][0], data.VarianceAt(level), 1e-5) << Name(kind) << row.step;
    }
  }
}

// There ᾱ rises from one time to the next, as it does in diffusers; no step goes up.
TEST_F(ZeroSnrTest, LevelsNextToTheLastAreBelowTheOneTakenForIt) {
  EXPECT_LT(ScheduleOf(config_).alpha_bar(998), std::pow(2, -24));
  const auto made = [&](uint32_t steps, std::optional<Sigmas> sigmas) {
    return MakeTable(config_, ScheduleOf(config_), false,
                     {.kind = SamplerKind::kDpmpp2M,
                      .steps = steps,
                      .spacing = Spacing::kTrailing,
                      .sigmas = sigmas});
  };
  EXPECT_EQ(FieldOf(made(1000, std::nullopt).status()), "sampler.steps");
  // A curve begins just below that level: at the time before ᾱ falls under it.
  for (const Sigmas sigmas : {Sigmas::kKarras, Sigmas::kExponential, Sigmas::kBeta}) {
    const auto table = made(100, sigmas);
    ASSERT_TRUE(table.ok()) << table.status();
    EXPECT_EQ(table->initial_timestep, 995);
    EXPECT_LE(table->rows[1].timestep, 995);
  }
}

TEST_F(ZeroSnrTest, RowsFromNoiseAloneLookAtTheAnswerOnly) {
  const Row row =
      Make({.kind = SamplerKind::kDdpm, .steps = 10, .spacing = Spacing::kTrailing}).rows[0];
  EXPECT_EQ(row.noise_ratio, INFINITY);
  EXPECT_EQ(row.p, 0);
  EXPECT_EQ(row.q, -1);
  EXPECT_EQ(row.w[kColX][kColX], 0);
}

}  // namespace
}  // namespace denoise
