#include "server/diffusion/scheduler_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/diffusion/beta_schedule.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A file of class DDPMScheduler with further keys, each `"key": value`.
std::string Ddpm(const std::string& keys) {
  return absl::StrCat(R"({"_class_name": "DDPMScheduler")", keys.empty() ? "" : ", ", keys, "}");
}

SchedulerConfig Parse(const std::string& json) {
  auto config = ParseSchedulerConfig(json);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(SchedulerConfig{});
}

void ExpectRefused(const std::string& json, const std::string& message) {
  const absl::Status status = ParseSchedulerConfig(json).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << json;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << json;
}

TEST(SchedulerConfig, SparseFileHasTheDefaultsOfItsClass) {
  const SchedulerConfig config = Parse(Ddpm(""));
  EXPECT_EQ(config.class_name, "DDPMScheduler");
  EXPECT_EQ(config.default_sampler, SamplerKind::kDdpm);
  EXPECT_EQ(config.betas, MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02));
  EXPECT_EQ(config.num_train_timesteps(), 1000);
  EXPECT_EQ(config.prediction, Prediction::kEpsilon);
  // Left to the sampler that a request chooses.
  EXPECT_EQ(config.variance, std::nullopt);
  EXPECT_EQ(config.clip_sample, std::nullopt);
  EXPECT_EQ(config.clip_sample_range, std::nullopt);
  EXPECT_EQ(config.spacing, std::nullopt);
  EXPECT_EQ(config.steps_offset, std::nullopt);
  EXPECT_EQ(config.set_alpha_to_one, std::nullopt);
  EXPECT_THAT(config.ignored_keys, IsEmpty());
}

TEST(SchedulerConfig, ReadsWhatDiffusersWrites) {
  const SchedulerConfig config = Parse(R"({
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.42.1",
    "num_train_timesteps": 400, "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "trained_betas": null, "prediction_type": "v_prediction",
    "clip_sample": false, "clip_sample_range": 2, "set_alpha_to_one": false, "steps_offset": 1,
    "timestep_spacing": "trailing", "thresholding": false, "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0, "rescale_betas_zero_snr": false, "variance_type": "learned_range",
    "use_karras_sigmas": null, "skip_prk_steps": true, "another": {"a": [1]}})");
  EXPECT_EQ(config.default_sampler, SamplerKind::kDdim);
  EXPECT_EQ(config.betas, MakeBetas(BetaSchedule::kScaledLinear, 400, 0.00085, 0.012));
  EXPECT_EQ(config.prediction, Prediction::kV);
  EXPECT_EQ(config.clip_sample, false);
  EXPECT_EQ(config.clip_sample_range, 2.0);
  EXPECT_EQ(config.set_alpha_to_one, false);
  EXPECT_EQ(config.steps_offset, 1);
  EXPECT_EQ(config.spacing, Spacing::kTrailing);
  EXPECT_EQ(config.variance, Variance::kLearnedRange);
  EXPECT_THAT(config.ignored_keys, ElementsAre("another", "skip_prk_steps"));
}

TEST(SchedulerConfig, Schedules) {
  EXPECT_EQ(Parse(Ddpm(R"("beta_schedule": "squaredcos_cap_v2")")).betas,
            MakeBetas(BetaSchedule::kSquaredCosCapV2, 1000, 0, 0));
  EXPECT_EQ(Parse(Ddpm(R"("beta_schedule": "sigmoid", "num_train_timesteps": 50)")).betas,
            MakeBetas(BetaSchedule::kSigmoid, 50, 0.0001, 0.02));
  EXPECT_THAT(Parse(Ddpm(R"("trained_betas": [0.25, 0.5], "num_train_timesteps": 2)")).betas,
              ElementsAre(0.25, 0.5));
  // As float32, which is what the library computes with.
  EXPECT_THAT(Parse(Ddpm(R"("trained_betas": [0.1], "num_train_timesteps": 1)")).betas,
              ElementsAre(static_cast<double>(0.1f)));
}

TEST(SchedulerConfig, NamesGoThereAndBack) {
  for (const auto value : {Prediction::kEpsilon, Prediction::kV, Prediction::kSample}) {
    EXPECT_EQ(Parse(Ddpm(absl::StrCat(R"("prediction_type": ")", Name(value), "\""))).prediction,
              value);
  }
  for (const auto value : {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace}) {
    EXPECT_EQ(Parse(Ddpm(absl::StrCat(R"("timestep_spacing": ")", Name(value), "\""))).spacing,
              value);
  }
  for (const auto value : {Variance::kFixedSmall, Variance::kFixedLarge, Variance::kLearned,
                           Variance::kLearnedRange}) {
    EXPECT_EQ(Parse(Ddpm(absl::StrCat(R"("variance_type": ")", Name(value), "\""))).variance,
              value);
  }
  EXPECT_EQ(Name(SamplerKind::kDdpm), "ddpm");
  EXPECT_EQ(Name(SamplerKind::kDdim), "ddim");
}

TEST(SchedulerConfig, LogVariancesAreTheSameVariances) {
  EXPECT_EQ(Parse(Ddpm(R"("variance_type": "fixed_small_log")")).variance, Variance::kFixedSmall);
  EXPECT_EQ(Parse(Ddpm(R"("variance_type": "fixed_large_log")")).variance, Variance::kFixedLarge);
}

TEST(SchedulerConfig, RefusesOtherClasses) {
  ExpectRefused(R"({"_class_name": "EulerDiscreteScheduler"})",
                R"(_class_name: "EulerDiscreteScheduler" is not a scheduler that is served; )"
                "served are DDPMScheduler, DDIMScheduler");
  ExpectRefused("{}", "_class_name: (missing) is not a scheduler that is served");
  ExpectRefused(R"({"_class_name": 3})", "_class_name: 3 is not a text");
}

TEST(SchedulerConfig, RefusesWhatIsNoObject) {
  for (const char* json : {"", "{", "[1]", "3", "{\"_class_name\": NaN}", "\xff\xfe"}) {
    ExpectRefused(json, "not a JSON object");
  }
}

TEST(SchedulerConfig, RefusesUnknownValuesByKeyAndValue) {
  const struct {
    const char* keys;
    const char* message;
  } cases[] = {
      {R"("beta_schedule": "laplace")",
       R"(beta_schedule: "laplace" is not one of linear, scaled_linear, squaredcos_cap_v2, sigmoid)"},
      {R"("prediction_type": "flow_prediction")",
       R"(prediction_type: "flow_prediction" is not one)"},
      {R"("timestep_spacing": "even")", R"(timestep_spacing: "even" is not one of leading)"},
      {R"("variance_type": "small")", R"(variance_type: "small" is not one of fixed_small)"},
      {R"("variance_type": null)", "variance_type: null is not a text"},
      {R"("clip_sample": "yes")", R"(clip_sample: "yes" is not true or false)"},
      {R"("clip_sample": null)", "clip_sample: null is not true or false"},
      {R"("clip_sample_range": 0)", "clip_sample_range: 0 is not a number between"},
      {R"("clip_sample_range": -1.5)", "clip_sample_range: -1.5 is not"},
      {R"("set_alpha_to_one": 1)", "set_alpha_to_one: 1 is not true or false"},
      {R"("steps_offset": -1)", "steps_offset: -1 is not a whole number in 0..100000"},
      {R"("steps_offset": 0.5)", "steps_offset: 0.5 is not a whole number"},
      {R"("num_train_timesteps": 0)", "num_train_timesteps: 0 is not a whole number in 1..100000"},
      {R"("num_train_timesteps": 18446744073709551615)",
       "num_train_timesteps: 18446744073709551615"},
      {R"("num_train_timesteps": "1000")", R"(num_train_timesteps: "1000" is not a whole number)"},
      {R"("beta_start": 0)", "beta_start: 0 is not a number between 0 and 1"},
      {R"("beta_end": 1.0)", "beta_end: 1.0 is not a number between 0 and 1"},
      {R"("beta_end": [0.1])", "beta_end: [0.1] is not a number"},
      {R"("trained_betas": 0.1)", "trained_betas: 0.1 is not a list of numbers"},
      {R"("trained_betas": [0.1, "x"])", R"(trained_betas: "x" is not a number)"},
      {R"("trained_betas": [0.1, 1.5], "num_train_timesteps": 2)",
       "trained_betas: 1.5 at t = 1 is not between 0 and 1"},
      {R"("trained_betas": [0.1, 0.999999999], "num_train_timesteps": 2)",
       "trained_betas: 1 at t = 1 is not between 0 and 1"},
      {R"("trained_betas": [0.1, 0.2])",
       "trained_betas: a list of 2 does not fit num_train_timesteps, 1000 by default"},
      {R"("beta_start": 0.5, "beta_end": 0.5)",
       "beta_schedule: 0.5 at t = 99 brings alpha_bar to 7.88861e-31"},
      {R"("beta_start": 1e-30, "num_train_timesteps": 2)",
       "beta_schedule: 1e-30 at t = 0 is too small: alpha_bar stays at 1"},
      {R"("sample_max_value": "1")", R"(sample_max_value: "1" is not a number)"},
  };
  for (const auto& [keys, message] : cases) ExpectRefused(Ddpm(keys), message);
}

// Sampling such a model as if the switch were off would give other pictures, silently.
TEST(SchedulerConfig, RefusesSwitchesThatAreNotServed) {
  for (const char* key : {"thresholding", "rescale_betas_zero_snr", "use_flow_sigmas",
                          "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"}) {
    ExpectRefused(Ddpm(absl::StrCat("\"", key, "\": true")),
                  absl::StrCat(key, ": true is not served"));
    ExpectRefused(Ddpm(absl::StrCat("\"", key, "\": 1")),
                  absl::StrCat(key, ": 1 is not true or false"));
    for (const char* off : {"false", "null"}) {
      EXPECT_THAT(Parse(Ddpm(absl::StrCat("\"", key, "\": ", off))).ignored_keys, IsEmpty());
    }
  }
}

TEST(SchedulerConfig, CutsLongValues) {
  const absl::Status status =
      ParseSchedulerConfig(
          Ddpm(absl::StrCat(R"("clip_sample": ")", std::string(10'000, 'x'), "\"")))
          .status();
  EXPECT_LT(status.message().size(), 200u);
}

}  // namespace
}  // namespace denoise
