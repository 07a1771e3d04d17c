// Tables of flow models: their grids, against closed forms for Gaussian data, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "server/diffusion/field_error.h"
#include "server/diffusion/sampler.h"
#include "tests/unit/diffusion/table_moments.h"

namespace denoise {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pointwise;

constexpr SamplerKind kFlowSamplers[] = {
    SamplerKind::kEuler,      SamplerKind::kEulerAncestral, SamplerKind::kDpmpp2M,
    SamplerKind::kSdeDpmpp2M, SamplerKind::kDpmpp3M,        SamplerKind::kUniPc,
    SamplerKind::kDeis,
};

class FlowTest : public ::testing::Test {
 protected:
  FlowTest() {
    config_.prediction = Prediction::kFlow;
    config_.default_sampler = SamplerKind::kEuler;
    config_.flow = FlowConfig{};
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
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(FieldOf(status), field) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  SchedulerConfig config_;
};

// σ of the states, the first included.
std::vector<double> Sigmas(const Table& table) {
  std::vector<double> sigmas = {table.initial_sigma};
  for (const Row& row : table.rows) sigmas.push_back(row.state_sigma);
  return sigmas;
}

std::vector<double> Times(const Table& table) {
  std::vector<double> times;
  for (const Row& row : table.rows) times.push_back(row.timestep);
  return times;
}

TEST_F(FlowTest, GridsOfTheSamplers) {
  const auto near = Pointwise(DoubleNear(1e-7), std::vector<double>{1, 0.667, 0.334, 0.001, 0});
  Table table = Make({.steps = 4});
  EXPECT_THAT(Sigmas(table), near);
  EXPECT_THAT(Times(table), Pointwise(DoubleNear(1e-3), std::vector<double>{1000, 667, 334, 1}));
  EXPECT_TRUE(Make({.steps = 3}).fractional_times);
  EXPECT_EQ(table.initial_scale, 1);
  EXPECT_EQ(table.initial_alpha_bar, 0);
  EXPECT_EQ(table.rows[0].noise_ratio, std::numeric_limits<double>::infinity());

  table = Make({.kind = SamplerKind::kDpmpp2M, .steps = 4});
  EXPECT_THAT(Sigmas(table),
              Pointwise(DoubleNear(1e-7), std::vector<double>{0.999, 0.74925, 0.4995, 0.24975, 0}));
  EXPECT_THAT(Times(table), ElementsAre(999, 749, 499, 249));
  EXPECT_FALSE(table.fractional_times);

  table = Make({.kind = SamplerKind::kDeis, .steps = 4});
  EXPECT_THAT(Sigmas(table), Pointwise(DoubleNear(1e-7), std::vector<double>{0.999, 0.74925, 0.4995,
                                                                             0.24975, 0.24975}));

  table = Make({.kind = SamplerKind::kUniPc, .steps = 4});
  EXPECT_THAT(Sigmas(table), Pointwise(DoubleNear(1e-7),
                                       std::vector<double>{1 - 1e-6, 0.75025, 0.5005, 0.25075, 0}));
  EXPECT_THAT(Times(table), ElementsAre(999, 750, 500, 250));
  config_.final_sigma = FinalSigma::kSigmaMin;
  table = Make({.kind = SamplerKind::kUniPc, .steps = 4});
  EXPECT_EQ(table.rows[3].state_sigma, table.rows[2].state_sigma);
}

TEST_F(FlowTest, ShiftsMoveLevels) {
  config_.flow->shift = 3;
  const auto shifted = [](double u) { return 3 * u / (1 + 2 * u); };
  // Euler's are shifted twice at their end.
  const double end = shifted(0.001);
  EXPECT_THAT(
      Sigmas(Make({.steps = 3})),
      Pointwise(DoubleNear(1e-7), std::vector<double>{1, shifted((1 + end) / 2), shifted(end), 0}));
  EXPECT_THAT(Sigmas(Make({.kind = SamplerKind::kDpmpp2M, .steps = 2})),
              Pointwise(DoubleNear(1e-7), std::vector<double>{shifted(0.999), shifted(0.4995), 0}));
  // The request's wins.
  const Table asked = Make({.steps = 3, .flow_shift = 5});
  config_.flow->shift = 5;
  EXPECT_EQ(Sigmas(asked), Sigmas(Make({.steps = 3})));
}

TEST_F(FlowTest, DynamicShiftingIsTheRequests) {
  config_.flow->shift = 3;
  config_.flow->dynamic_shifting = true;
  for (const SamplerKind kind : kFlowSamplers) {
    ExpectRefused({.kind = kind, .steps = 4}, "sampler.flow_shift", "missing");
  }
  const double mu = 0.9;
  const auto sigmas = [&](double shift) {
    std::vector<double> sigmas;
    for (const double u : {1.0, 0.5005, 0.001}) sigmas.push_back(shift * u / (1 + (shift - 1) * u));
    sigmas.push_back(0);
    return sigmas;
  };
  EXPECT_THAT(Sigmas(Make({.steps = 3, .flow_shift = mu})),
              Pointwise(DoubleNear(1e-7), sigmas(std::exp(mu))));
  config_.flow->time_shift = TimeShift::kLinear;
  EXPECT_THAT(Sigmas(Make({.steps = 3, .flow_shift = mu})),
              Pointwise(DoubleNear(1e-7), sigmas(mu)));
}

TEST_F(FlowTest, ShiftTerminalIsTheLastLevelOfClassesThatHaveIt) {
  config_.flow->shift_terminal = 0.25;
  for (const SamplerKind kind : kFlowSamplers) {
    const std::vector<double> sigmas = Sigmas(Make({.kind = kind, .steps = 8}));
    const bool has = kind == SamplerKind::kEuler || kind == SamplerKind::kEulerAncestral ||
                     kind == SamplerKind::kUniPc;
    EXPECT_EQ(std::abs(sigmas[7] - 0.25) < 1e-7, has) << Name(kind);
  }
  ExpectRefused({.steps = 1}, "sampler.steps", "ask for at least 2");
}

TEST_F(FlowTest, CurvesKeepTheEnds) {
  for (const auto sigmas :
       {denoise::Sigmas::kKarras, denoise::Sigmas::kExponential, denoise::Sigmas::kBeta}) {
    const std::vector<double> levels = Sigmas(Make({.steps = 11, .sigmas = sigmas}));
    EXPECT_NEAR(levels[0], 1, 1e-7);
    EXPECT_NEAR(levels[10], 0.001, 1e-7);
    EXPECT_GT(std::abs(levels[3] - 0.7003), 1e-2);
  }
  // Evenly in the logarithm.
  const Table table = Make({.steps = 3, .sigmas = denoise::Sigmas::kExponential});
  EXPECT_NEAR(table.rows[0].state_sigma, std::sqrt(0.001), 1e-7);
  config_.sigmas = denoise::Sigmas::kExponential;
  EXPECT_EQ(Sigmas(Make({.steps = 3})), Sigmas(table));
}

TEST_F(FlowTest, OwnTimesAreLevels) {
  const SamplerOptions options = {.timesteps = {900, 500.5F, 20}};
  for (const SamplerKind kind : {SamplerKind::kEuler, SamplerKind::kDpmpp2M}) {
    SamplerOptions of_kind = options;
    of_kind.kind = kind;
    const Table table = Make(of_kind);
    EXPECT_THAT(Times(table), ElementsAre(900, 500.5, 20));
    EXPECT_THAT(Sigmas(table),
                Pointwise(DoubleNear(1e-7), std::vector<double>{0.9, 0.5005, 0.02, 0}));
  }
  EXPECT_EQ(Make({.timesteps = {1000, 500}}).initial_sigma, 1);
  ExpectRefused({.timesteps = {5, 0}}, "sampler.timesteps[1]", "0 is not above 0 and at most 1000");
  ExpectRefused({.timesteps = {1001}}, "sampler.timesteps[0]", "1001 is not above 0");
  ExpectRefused({.timesteps = {std::numeric_limits<float>::quiet_NaN()}}, "sampler.timesteps[0]",
                "is not above 0");
  ExpectRefused({.timesteps = {500, 500}}, "sampler.timesteps[1]", "500 is not below");
  ExpectRefused({.timesteps = {500}, .flow_shift = 3}, "sampler.flow_shift",
                "does nothing beside sampler.timesteps");
  ExpectRefused({.kind = SamplerKind::kUniPc, .timesteps = {1000}}, "sampler.kind",
                "cannot begin at sigma 1");
}

// For one point of data x_t goes along a straight line, on which every solver is exact, and so is
// what the stochastic ones draw.
TEST_F(FlowTest, IsExactForAPoint) {
  const GaussianData data = {.mean = 0.8, .variance = 0};
  for (const double shift : {0.5, 1.0, 3.0}) {
    config_.flow->shift = shift;
    for (const SamplerKind kind : kFlowSamplers) {
      const Table table = Make({.kind = kind, .steps = 20});
      Level level = Level::OfFlow(table.initial_sigma);
      Moments moments = AllEqual(data.MeanAt(level), data.VarianceAt(level));
      for (const Row& row : table.rows) {
        const Level from = level;
        moments = Advance(
            row, [&](double x) { return data.Denoiser(Prediction::kFlow, from, x); }, 0, moments);
        level = Level::OfFlow(row.state_sigma);
        EXPECT_NEAR(row.state_alpha_bar, level.alpha_bar, 1e-12);
        ASSERT_NEAR(moments.mean[0], data.MeanAt(level), 1e-5) << Name(kind) << row.step;
        ASSERT_NEAR(moments.covariance[0][0], data.VarianceAt(level), 1e-5)
            << Name(kind) << row.step;
      }
    }
  }
}

// The distance from the probability flow, which keeps (x - α m)/√(α²v+σ²), at the last level that
// has noise.
double FlowError(const Table& table) {
  const GaussianData data = {.mean = 0.3, .variance = 0.25};
  Level level = Level::OfFlow(table.initial_sigma);
  Registers registers;
  registers.fill(1.7);
  const double kept = (1.7 - data.MeanAt(level)) / std::sqrt(data.VarianceAt(level));
  double error = 0;
  for (const Row& row : table.rows) {
    RunRow(row, data.Denoiser(Prediction::kFlow, level, registers[0]), 0, 0, &registers);
    level = Level::OfFlow(row.state_sigma);
    if (level.sigma == 0) continue;
    error =
        std::abs(registers[0] - (data.MeanAt(level) + kept * std::sqrt(data.VarianceAt(level))));
  }
  return error;
}

TEST_F(FlowTest, ConvergesAtItsOrders) {
  const struct {
    SamplerKind kind;
    double ratio_min;  // Of the errors with 100 and with 200 steps.
    double ratio_max;
    double error_max;  // With 200 steps.
  } cases[] = {
      {SamplerKind::kEuler, 1.9, 2.1, 1e-2}, {SamplerKind::kDpmpp2M, 3, 5, 1e-3},
      {SamplerKind::kDpmpp3M, 3, 10, 1e-3},  {SamplerKind::kUniPc, 3, 10, 1e-3},
      {SamplerKind::kDeis, 2.5, 5, 1e-3},
  };
  for (const auto& [kind, ratio_min, ratio_max, error_max] : cases) {
    const double error = FlowError(Make({.kind = kind, .steps = 200}));
    const double ratio = FlowError(Make({.kind = kind, .steps = 100})) / error;
    EXPECT_GT(ratio, ratio_min) << Name(kind);
    EXPECT_LT(ratio, ratio_max) << Name(kind);
    EXPECT_LT(error, error_max) << Name(kind);
  }
}

// x = (1-σ) image + σ z at the level of the first step that is run.
TEST_F(FlowTest, StartsFromAnImage) {
  for (const SamplerKind kind : kFlowSamplers) {
    const Table whole = Make({.kind = kind, .steps = 20});
    const Table part = Make({.kind = kind, .steps = 20, .strength = 0.4});
    ASSERT_EQ(part.rows.size(), 8u);
    EXPECT_EQ(part.total_steps, 8u);
    EXPECT_EQ(part.initial_sigma, whole.rows[11].state_sigma);
    EXPECT_NEAR(part.initial_scale, part.initial_sigma, 1e-12);
    EXPECT_NEAR(part.image_scale, 1 - part.initial_sigma, 1e-12);
    EXPECT_EQ(part.rows[0].timestep, whole.rows[12].timestep);
  }
}

TEST_F(FlowTest, TablesAreFinite) {
  for (const double shift : {0.1, 1.0, 30.0}) {
    config_.flow->shift = shift;
    for (const SamplerKind kind : kFlowSamplers) {
      for (const uint32_t steps : {1u, 2u, 33u, 499u, 1000u}) {
        const Table table = Make({.kind = kind, .steps = steps});
        ASSERT_EQ(table.rows.size(), steps);
        EXPECT_EQ(table.stochastic,
                  kind == SamplerKind::kEulerAncestral || kind == SamplerKind::kSdeDpmpp2M);
        for (const Row& row : table.rows) {
          ASSERT_TRUE(std::isfinite(row.p) && std::isfinite(row.q));
          EXPECT_EQ(row.noise, table.stochastic);
          for (const auto& weights : row.w) {
            for (const double weight : weights) ASSERT_TRUE(std::isfinite(weight)) << Name(kind);
          }
        }
      }
    }
  }
}

TEST_F(FlowTest, RefusesWhatMeansNothing) {
  for (const SamplerKind kind : {SamplerKind::kDdpm, SamplerKind::kDdim, SamplerKind::kHeun,
                                 SamplerKind::kLms, SamplerKind::kPndm}) {
    ExpectRefused({.kind = kind, .steps = 4}, "sampler.kind",
                  absl::StrCat(absl::string_view(Name(kind)),
                               " cannot sample a flow model; choose one of euler, euler_ancestral, "
                               "dpmpp_2m, sde_dpmpp_2m, dpmpp_3m, unipc, deis"));
  }
  ExpectRefused({.steps = 0}, "sampler.steps", "0 is not in 1..1000");
  ExpectRefused({.steps = 1001}, "sampler.steps", "1001 is not in 1..1000");
  ExpectRefused({.steps = 4, .spacing = Spacing::kTrailing}, "sampler.timestep_spacing",
                "trailing does nothing on a flow model");
  ExpectRefused({.kind = SamplerKind::kDpmpp2M, .steps = 4, .sigmas = denoise::Sigmas::kKarras},
                "sampler.sigmas", "karras is not there for dpmpp_2m on a flow model");
  config_.sigmas = denoise::Sigmas::kBeta;
  ExpectRefused({.kind = SamplerKind::kDpmpp2M, .steps = 4}, "sampler.sigmas",
                "beta (from the model's scheduler_config.json)");
  EXPECT_TRUE(
      TryMake({.kind = SamplerKind::kDpmpp2M, .steps = 4, .sigmas = denoise::Sigmas::kSchedule})
          .ok());
  config_.sigmas.reset();
  config_.final_sigma = FinalSigma::kSigmaMin;
  ExpectRefused({.kind = SamplerKind::kDpmpp3M, .steps = 4}, "sampler.kind", "sigma_min");
  config_.final_sigma.reset();
  for (const double shift : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity()}) {
    ExpectRefused({.steps = 4, .flow_shift = shift}, "sampler.flow_shift",
                  "is not a finite number above 0");
  }
  // So far up that float32 does not tell the levels from 1.
  ExpectRefused({.steps = 4, .flow_shift = 1e30}, "sampler.steps", "coincide at sigma 1");
  ExpectRefused({.kind = SamplerKind::kDpmpp2M, .steps = 1, .flow_shift = 1e30}, "sampler.kind",
                "cannot begin at sigma 1");
  config_.flow->dynamic_shifting = true;
  ExpectRefused({.steps = 4, .flow_shift = 1000}, "sampler.flow_shift", "1000 is not between");
}

TEST_F(FlowTest, ADiffusionHasNoShift) {
  config_.flow.reset();
  config_.prediction = Prediction::kEpsilon;
  config_.betas.assign(100, 0.01);
  ExpectRefused({.steps = 4, .flow_shift = 3}, "sampler.flow_shift", "no flow model");
}

}  // namespace
}  // namespace denoise
