// What MakeTable accepts, what it refuses, and where each setting comes from.
#include "server/diffusion/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "absl/hash/hash.h"
#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"
#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

class SamplerTest : public ::testing::Test {
 protected:
  SamplerTest() { config_.betas = MakeBetas(BetaSchedule::kLinear, 100, 0.001, 0.1); }

  absl::StatusOr<Table> Make(const SamplerOptions& options, bool learned_variance = false) {
    return MakeTable(config_, NoiseSchedule(config_.betas), learned_variance, options);
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

TEST_F(SamplerTest, EveryKindHasASpec) {
  for (int i = 0; i <= static_cast<int>(SamplerKind::kDeis); ++i) {
    const auto kind = static_cast<SamplerKind>(i);
    EXPECT_EQ(SpecOf(kind).kind, kind);
    EXPECT_TRUE(Make({.kind = kind, .steps = 10}).ok());
  }
  EXPECT_EQ(Samplers().size(), static_cast<size_t>(SamplerKind::kDeis) + 1);
}

TEST_F(SamplerTest, RefusesStepsOutOfRange) {
  ExpectRefused({.steps = 0}, "sampler.steps", "0 is not in 1..100");
  ExpectRefused({.steps = 101}, "sampler.steps", "101 is not in 1..100");
  ExpectRefused({.steps = 4294967295u}, "sampler.steps", "4294967295 is not in 1..100");
  EXPECT_TRUE(Make({.steps = 1}).ok());
  EXPECT_TRUE(Make({.steps = 100}).ok());
}

TEST_F(SamplerTest, RefusesAGridPastTheLastTime) {
  config_.steps_offset = 1;
  ExpectRefused({.steps = 100}, "sampler.steps", "t = 100, past the last trained time 99");
  EXPECT_TRUE(Make({.steps = 100, .spacing = Spacing::kTrailing}).ok());
}

TEST_F(SamplerTest, RefusesEtaOutOfRange) {
  for (const double eta : {-0.1, 1.1, kNan, kInf}) {
    ExpectRefused({.kind = SamplerKind::kDdim, .steps = 10, .eta = eta}, "sampler.eta",
                  "is not in 0..1");
  }
}

TEST_F(SamplerTest, RefusesOptionsThatDoNothing) {
  ExpectRefused({.kind = SamplerKind::kDdpm, .steps = 10, .eta = 0.5}, "sampler.eta",
                "0.5 does nothing for the sampler ddpm; leave it out, or choose one that uses it "
                "(ddim)");
  ExpectRefused({.kind = SamplerKind::kEuler, .steps = 10, .eta = 0.5}, "sampler.eta",
                "does nothing for the sampler euler");
  ExpectRefused(
      {.kind = SamplerKind::kDdim, .steps = 10, .sigmas = Sigmas::kKarras}, "sampler.sigmas",
      "karras does nothing for the sampler ddim; leave it out, or choose one that uses it "
      "(euler, euler_ancestral, heun, dpmpp_2m, sde_dpmpp_2m, dpmpp_3m, unipc, lms, deis)");
  ExpectRefused({.kind = SamplerKind::kPndm, .steps = 10, .sigmas = Sigmas::kSchedule},
                "sampler.sigmas", "schedule does nothing for the sampler pndm");
  ExpectRefused({.kind = SamplerKind::kDdim, .steps = 10, .variance = Variance::kFixedLarge},
                "sampler.variance", "fixed_large does nothing for the sampler ddim");
  ExpectRefused({.kind = SamplerKind::kDdpm, .steps = 10, .use_clipped_model_output = true},
                "sampler.use_clipped_model_output", "does nothing for the sampler ddpm");
  ExpectRefused({.kind = SamplerKind::kDdim,
                 .steps = 10,
                 .clip_sample = false,
                 .use_clipped_model_output = true},
                "sampler.use_clipped_model_output", "nothing is clipped");
  ExpectRefused({.steps = 10, .clip_sample = false, .clip_sample_range = 2.0},
                "sampler.clip_sample_range", "nothing is clipped");
  // The same where the model, not the request, does not clip.
  config_.clip_sample = false;
  ExpectRefused({.steps = 10, .clip_sample_range = 2.0}, "sampler.clip_sample_range",
                "set sampler.clip_sample");
  EXPECT_TRUE(Make({.steps = 10, .clip_sample = true, .clip_sample_range = 2.0}).ok());
}

TEST_F(SamplerTest, RefusesBadClipRanges) {
  for (const double range : {0.0, -1.0, kNan, kInf}) {
    ExpectRefused({.steps = 10, .clip_sample_range = range}, "sampler.clip_sample_range",
                  "is not a finite number above 0");
  }
}

TEST_F(SamplerTest, RefusesALearnedVarianceThatIsNotThere) {
  for (const Variance variance : {Variance::kLearned, Variance::kLearnedRange}) {
    ExpectRefused({.steps = 10, .variance = variance}, "sampler.variance",
                  "needs a denoiser that gives a variance");
    EXPECT_TRUE(Make({.steps = 10, .variance = variance}, /*learned_variance=*/true).ok());
  }
  config_.variance = Variance::kLearnedRange;
  ExpectRefused({.steps = 10}, "sampler.variance",
                "learned_range (from the model's scheduler_config.json)");
  EXPECT_TRUE(Make({.steps = 10, .variance = Variance::kFixedSmall}).ok());
}

TEST_F(SamplerTest, TheRequestWinsOverTheFileAndTheFileOverTheClass) {
  // The class: leading, clipped at 1, DDPM.
  Table table = *Make({.steps = 7});
  EXPECT_EQ(table.initial_timestep, 84);
  EXPECT_TRUE(table.rows[0].clip);
  EXPECT_EQ(table.rows[0].clip_range, 1);
  EXPECT_TRUE(table.stochastic);

  config_.default_sampler = SamplerKind::kDdim;
  config_.spacing = Spacing::kTrailing;
  config_.clip_sample_range = 3;
  table = *Make({.steps = 7});
  EXPECT_EQ(table.initial_timestep, 99);
  EXPECT_EQ(table.rows[0].clip_range, 3);
  EXPECT_FALSE(table.stochastic);

  config_.steps_offset = 2;
  table = *Make({.kind = SamplerKind::kDdpm,
                 .steps = 7,
                 .spacing = Spacing::kLeading,
                 .clip_sample_range = 0.5});
  EXPECT_EQ(table.initial_timestep, 86);
  EXPECT_EQ(table.rows[0].clip_range, 0.5);
  EXPECT_TRUE(table.stochastic);
  EXPECT_FALSE(Make({.steps = 7, .clip_sample = false})->rows[0].clip);
}

TEST_F(SamplerTest, RefusesTimesThatCoincide) {
  for (const Spacing spacing : {Spacing::kLeading, Spacing::kLinspace}) {
    ExpectRefused({.kind = SamplerKind::kUniPc, .steps = 100, .spacing = spacing}, "sampler.steps",
                  "100 steps of this sampler and timestep_spacing would call the denoiser twice");
    EXPECT_TRUE(Make({.kind = SamplerKind::kUniPc, .steps = 99, .spacing = spacing}).ok());
  }
  EXPECT_TRUE(
      Make({.kind = SamplerKind::kUniPc, .steps = 100, .spacing = Spacing::kTrailing}).ok());
}

TEST_F(SamplerTest, SigmasComeFromTheRequestThenFromTheFileOfAClassThatHasThem) {
  config_.sigmas = Sigmas::kKarras;
  const auto second_time = [&](SamplerKind kind, std::optional<Sigmas> sigmas) {
    return Make({.kind = kind, .steps = 10, .sigmas = sigmas})->rows[1].timestep;
  };
  EXPECT_EQ(second_time(SamplerKind::kEuler, std::nullopt),
            second_time(SamplerKind::kEuler, Sigmas::kKarras));
  EXPECT_EQ(second_time(SamplerKind::kEuler, Sigmas::kSchedule), 88);
  EXPECT_NE(second_time(SamplerKind::kEuler, Sigmas::kKarras), 88);
  // EulerAncestralDiscreteScheduler has no such key; a request may ask all the same.
  EXPECT_EQ(second_time(SamplerKind::kEulerAncestral, std::nullopt), 88);
  EXPECT_EQ(second_time(SamplerKind::kEulerAncestral, Sigmas::kKarras),
            second_time(SamplerKind::kEuler, Sigmas::kKarras));
  EXPECT_EQ(Make({.kind = SamplerKind::kDdim, .steps = 10})->initial_timestep, 90);
}

// Registers that the table does not have are not written, and every number is finite, all over the
// options.
TEST_F(SamplerTest, TablesAreFinite) {
  const std::vector<std::vector<double>> schedules = {
      MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02),
      MakeBetas(BetaSchedule::kScaledLinear, 1000, 0.00085, 0.012),
      MakeBetas(BetaSchedule::kSquaredCosCapV2, 1000, 0, 0),
      MakeBetas(BetaSchedule::kSigmoid, 1000, 0.0001, 0.02)};
  for (const std::vector<double>& betas : schedules) {
    config_.betas = betas;
    for (const SamplerSpec* spec : Samplers()) {
      for (const auto prediction : {Prediction::kEpsilon, Prediction::kV, Prediction::kSample}) {
        config_.prediction = prediction;
        for (const auto spacing : {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace}) {
          for (const uint32_t steps : {1u, 2u, 33u, 499u, 1000u}) {
            config_.skip_prk_steps = steps < 4;
            const auto table = Make({.kind = spec->kind,
                                     .steps = steps,
                                     .eta = spec->takes_eta ? 1.0 : 0.0,
                                     .spacing = spacing});
            if (steps == 1000 && !table.ok()) {
              ASSERT_EQ(spec->grid, TimeGrid::kIntervals);
              continue;
            }
            ASSERT_TRUE(table.ok()) << table.status();
            ASSERT_GE(table->rows.size(), steps);
            ASSERT_TRUE(std::isfinite(table->initial_scale));
            for (const Row& row : table->rows) {
              ASSERT_TRUE(std::isfinite(row.p) && std::isfinite(row.q));
              for (int r = kColX; r < kMaxRegisters; ++r) {
                for (const double weight : row.w[r]) {
                  ASSERT_TRUE(std::isfinite(weight)) << spec->name << " step " << row.step;
                  ASSERT_TRUE(r < table->registers || weight == 0);
                }
                for (int c = table->registers; c < kMaxRegisters; ++c) ASSERT_EQ(row.w[r][c], 0);
              }
            }
          }
        }
      }
    }
  }
}

TEST(SamplerOptionsTest, EqualOptionsHashEqually) {
  const SamplerOptions a = {.kind = SamplerKind::kDdim, .steps = 50, .eta = 0.5};
  SamplerOptions b = a;
  EXPECT_EQ(a, b);
  EXPECT_EQ(absl::Hash<SamplerOptions>{}(a), absl::Hash<SamplerOptions>{}(b));
  b.sigmas = Sigmas::kKarras;
  EXPECT_NE(a, b);
  EXPECT_NE(absl::Hash<SamplerOptions>{}(a), absl::Hash<SamplerOptions>{}(b));
  b = a;
  b.clip_sample = false;
  EXPECT_NE(a, b);
  EXPECT_NE(absl::Hash<SamplerOptions>{}(a), absl::Hash<SamplerOptions>{}(b));
}

}  // namespace
}  // namespace denoise
