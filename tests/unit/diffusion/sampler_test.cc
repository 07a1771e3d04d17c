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

class Sampler : public ::testing::Test {
 protected:
  Sampler() { config_.betas = MakeBetas(BetaSchedule::kLinear, 100, 0.001, 0.1); }

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

TEST_F(Sampler, EveryKindHasASpec) {
  for (const SamplerKind kind : {SamplerKind::kDdpm, SamplerKind::kDdim}) {
    EXPECT_EQ(SpecOf(kind).kind, kind);
    EXPECT_TRUE(Make({.kind = kind, .steps = 10}).ok());
  }
  EXPECT_EQ(Samplers().size(), 2u);
}

TEST_F(Sampler, RefusesStepsOutOfRange) {
  ExpectRefused({.steps = 0}, "sampler.steps", "0 is not in 1..100");
  ExpectRefused({.steps = 101}, "sampler.steps", "101 is not in 1..100");
  ExpectRefused({.steps = 4294967295u}, "sampler.steps", "4294967295 is not in 1..100");
  EXPECT_TRUE(Make({.steps = 1}).ok());
  EXPECT_TRUE(Make({.steps = 100}).ok());
}

TEST_F(Sampler, RefusesAGridPastTheLastTime) {
  config_.steps_offset = 1;
  ExpectRefused({.steps = 100}, "sampler.steps", "t = 100, past the last trained time 99");
  EXPECT_TRUE(Make({.steps = 100, .spacing = Spacing::kTrailing}).ok());
}

TEST_F(Sampler, RefusesEtaOutOfRange) {
  for (const double eta : {-0.1, 1.1, kNan, kInf}) {
    ExpectRefused({.kind = SamplerKind::kDdim, .steps = 10, .eta = eta}, "sampler.eta",
                  "is not in 0..1");
  }
}

TEST_F(Sampler, RefusesOptionsThatDoNothing) {
  ExpectRefused({.kind = SamplerKind::kDdpm, .steps = 10, .eta = 0.5}, "sampler.eta",
                "0.5 does nothing for the sampler ddpm; leave it out, or choose one that uses it "
                "(ddim)");
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

TEST_F(Sampler, RefusesBadClipRanges) {
  for (const double range : {0.0, -1.0, kNan, kInf}) {
    ExpectRefused({.steps = 10, .clip_sample_range = range}, "sampler.clip_sample_range",
                  "is not a finite number above 0");
  }
}

TEST_F(Sampler, RefusesALearnedVarianceThatIsNotThere) {
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

TEST_F(Sampler, TheRequestWinsOverTheFileAndTheFileOverTheClass) {
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

// Nothing but x is written, and every number is finite, all over the options.
TEST_F(Sampler, TablesAreFinite) {
  const std::vector<std::vector<double>> schedules = {
      MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02),
      MakeBetas(BetaSchedule::kScaledLinear, 1000, 0.00085, 0.012),
      MakeBetas(BetaSchedule::kSquaredCosCapV2, 1000, 0, 0),
      MakeBetas(BetaSchedule::kSigmoid, 1000, 0.0001, 0.02)};
  for (const std::vector<double>& betas : schedules) {
    config_.betas = betas;
    for (const SamplerKind kind : {SamplerKind::kDdpm, SamplerKind::kDdim}) {
      for (const auto prediction : {Prediction::kEpsilon, Prediction::kV, Prediction::kSample}) {
        config_.prediction = prediction;
        for (const auto spacing : {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace}) {
          for (const uint32_t steps : {1u, 2u, 33u, 1000u}) {
            const auto table = Make({.kind = kind,
                                     .steps = steps,
                                     .eta = kind == SamplerKind::kDdim ? 1.0 : 0.0,
                                     .spacing = spacing});
            ASSERT_TRUE(table.ok()) << table.status();
            ASSERT_EQ(table->rows.size(), steps);
            for (const Row& row : table->rows) {
              ASSERT_TRUE(std::isfinite(row.p) && std::isfinite(row.q));
              for (const double weight : row.w[kColX]) ASSERT_TRUE(std::isfinite(weight));
              for (int r = kColH1; r < kMaxRegisters; ++r) {
                for (const double weight : row.w[r]) ASSERT_EQ(weight, 0);
              }
            }
          }
        }
      }
    }
  }
}

TEST(SamplerOptions, EqualOptionsHashEqually) {
  const SamplerOptions a = {.kind = SamplerKind::kDdim, .steps = 50, .eta = 0.5};
  SamplerOptions b = a;
  EXPECT_EQ(a, b);
  EXPECT_EQ(absl::Hash<SamplerOptions>{}(a), absl::Hash<SamplerOptions>{}(b));
  b.clip_sample = false;
  EXPECT_NE(a, b);
  EXPECT_NE(absl::Hash<SamplerOptions>{}(a), absl::Hash<SamplerOptions>{}(b));
}

}  // namespace
}  // namespace denoise
