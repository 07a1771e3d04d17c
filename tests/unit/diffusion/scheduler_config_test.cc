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

TEST(SchedulerConfigTest, SparseFileHasTheDefaultsOfItsClass) {
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

TEST(SchedulerConfigTest, ReadsWhatDiffusersWrites) {
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
  EXPECT_THAT(config.ignored_keys, ElementsAre("another"));
}

TEST(SchedulerConfigTest, Schedules) {
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

TEST(SchedulerConfigTest, NamesGoThereAndBack) {
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
  EXPECT_EQ(Name(SamplerKind::kSdeDpmpp2M), "sde_dpmpp_2m");
  EXPECT_EQ(Name(Sigmas::kExponential), "exponential");
}

TEST(SchedulerConfigTest, LogVariancesAreTheSameVariances) {
  EXPECT_EQ(Parse(Ddpm(R"("variance_type": "fixed_small_log")")).variance, Variance::kFixedSmall);
  EXPECT_EQ(Parse(Ddpm(R"("variance_type": "fixed_large_log")")).variance, Variance::kFixedLarge);
}

TEST(SchedulerConfigTest, RefusesOtherClasses) {
  ExpectRefused(R"({"_class_name": "EDMEulerScheduler"})",
                R"(_class_name: "EDMEulerScheduler" is not a scheduler that is served; )"
                "served are DDPMScheduler, DDIMScheduler, EulerDiscreteScheduler, "
                "EulerAncestralDiscreteScheduler, HeunDiscreteScheduler, "
                "DPMSolverMultistepScheduler, UniPCMultistepScheduler, LMSDiscreteScheduler, "
                "PNDMScheduler, DEISMultistepScheduler, FlowMatchEulerDiscreteScheduler. ");
  ExpectRefused("{}", "_class_name: (missing) is not a scheduler that is served");
  ExpectRefused(R"({"_class_name": 3})", "_class_name: 3 is not a text");
}

TEST(SchedulerConfigTest, RefusesWhatIsNoObject) {
  for (const char* json : {"", "{", "[1]", "3", "{\"_class_name\": nan}", "\xff\xfe"}) {
    ExpectRefused(json, "not a JSON object");
  }
}

TEST(SchedulerConfigTest, RefusesUnknownValuesByKeyAndValue) {
  const struct {
    const char* keys;
    const char* message;
  } cases[] = {
      {R"("beta_schedule": "laplace")",
       R"(beta_schedule: "laplace" is not one of linear, scaled_linear, squaredcos_cap_v2, sigmoid)"},
      {R"("prediction_type": "score")", R"(prediction_type: "score" is not one of epsilon)"},
      {R"("timestep_spacing": "even")", R"(timestep_spacing: "even" is not one of leading)"},
      {R"("variance_type": "small")", R"(variance_type: "small" is not one of fixed_small)"},
      {R"("variance_type": 3)", "variance_type: 3 is not a text"},
      {R"("solver_order": 4)", "solver_order: 4 is not a whole number in 1..3"},
      {R"("solver_type": "rk4")", R"(solver_type: "rk4" is not one of midpoint, heun, bh1)"},
      {R"("algorithm_type": "euler")", R"(algorithm_type: "euler" is not one of dpmsolver++)"},
      {R"("final_sigmas_type": "one")", R"(final_sigmas_type: "one" is not one of zero)"},
      {R"("sigma_min": -1)", "sigma_min: -1 is not a number between 0"},
      {R"("sigma_max": "1")", R"(sigma_max: "1" is not a number)"},
      {R"("lower_order_final": 1)", "lower_order_final: 1 is not true or false"},
      {R"("use_karras_sigmas": true, "use_beta_sigmas": true)",
       "use_beta_sigmas: true contradicts use_karras_sigmas, also true"},
      {R"("interpolation_type": "log_linear")",
       R"(interpolation_type: "log_linear" is not served; only "linear" is)"},
      {R"("timestep_type": "continuous")", R"(timestep_type: "continuous" is not served)"},
      {R"("lambda_min_clipped": -5.1)",
       R"(lambda_min_clipped: -5.1 is not served; only "-Infinity" is)"},
      {R"("predict_x0": false)", "predict_x0: false is not served; only true is"},
      {R"("solver_p": {})", "solver_p: {} is not served; only null is"},
      {R"("disable_corrector": [0])", "disable_corrector: [0] is not served; only [] is"},
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
      {R"("sample_max_value": 0.5)", "sample_max_value: 0.5 is not a number of at least 1"},
      {R"("dynamic_thresholding_ratio": 0)", "dynamic_thresholding_ratio: 0 is not a number"},
      {R"("dynamic_thresholding_ratio": 1.01)", "above 0 and at most 1"},
      {R"("use_lu_lambdas": true)", "use_lu_lambdas: true is not served; only false is"},
  };
  for (const auto& [keys, message] : cases) ExpectRefused(Ddpm(keys), message);
}

TEST(SchedulerConfigTest, ReadsThresholding) {
  const SchedulerConfig config = Parse(
      Ddpm(R"("thresholding": true, "dynamic_thresholding_ratio": 1.0, "sample_max_value": 1.0)"));
  EXPECT_EQ(config.thresholding, true);
  EXPECT_EQ(config.dynamic_thresholding_ratio, 1);
  EXPECT_EQ(config.sample_max_value, 1);
  EXPECT_THAT(config.ignored_keys, IsEmpty());
  EXPECT_EQ(Parse(Ddpm("")).thresholding, std::nullopt);
  EXPECT_EQ(Parse(Ddpm("")).dynamic_thresholding_ratio, 0.995);
  EXPECT_EQ(Parse(Ddpm(R"("sample_max_value": 7)")).sample_max_value, 7);
}

TEST(SchedulerConfigTest, RescalesToZeroSnr) {
  const std::string keys = R"("rescale_betas_zero_snr": true, "prediction_type": "v_prediction")";
  const SchedulerConfig config = Parse(Ddpm(keys));
  EXPECT_EQ(config.betas, RescaleToZeroSnr(MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02)));
  EXPECT_TRUE(ScheduleOf(config).has_zero_snr());
  EXPECT_TRUE(
      ScheduleOf(Parse(Ddpm(keys + R"(, "beta_schedule": "squaredcos_cap_v2")"))).has_zero_snr());
  EXPECT_FALSE(ScheduleOf(Parse(Ddpm(""))).has_zero_snr());
  ExpectRefused(Ddpm(R"("rescale_betas_zero_snr": true)"),
                "rescale_betas_zero_snr: true is not served with prediction_type epsilon");
  ExpectRefused(Ddpm(keys + R"(, "num_train_timesteps": 1)"),
                "rescale_betas_zero_snr: true needs a num_train_timesteps of at least 2");
  ExpectRefused(Ddpm(keys + R"(, "trained_betas": [0.1, 1.5], "num_train_timesteps": 2)"),
                "trained_betas: 1.5 at t = 1");
}

// Sampling such a model as if the switch were off would give other pictures, silently.
TEST(SchedulerConfigTest, SwitchesAreOnOrOff) {
  for (const char* key : {"thresholding", "rescale_betas_zero_snr", "use_flow_sigmas",
                          "use_dynamic_shifting", "stochastic_sampling"}) {
    ExpectRefused(Ddpm(absl::StrCat("\"", key, "\": 1")),
                  absl::StrCat(key, ": 1 is not true or false"));
    for (const char* off : {"false", "null"}) {
      EXPECT_THAT(Parse(Ddpm(absl::StrCat("\"", key, "\": ", off))).ignored_keys, IsEmpty());
    }
  }
}

TEST(SchedulerConfigTest, ClassesChooseSamplers) {
  const struct {
    const char* keys;
    SamplerKind sampler;
  } cases[] = {
      {R"("_class_name": "EulerDiscreteScheduler")", SamplerKind::kEuler},
      {R"("_class_name": "EulerAncestralDiscreteScheduler")", SamplerKind::kEulerAncestral},
      {R"("_class_name": "HeunDiscreteScheduler")", SamplerKind::kHeun},
      {R"("_class_name": "DPMSolverMultistepScheduler")", SamplerKind::kDpmpp2M},
      {R"("_class_name": "DPMSolverMultistepScheduler", "solver_order": 1)", SamplerKind::kDpmpp2M},
      {R"("_class_name": "DPMSolverMultistepScheduler", "solver_order": 3)", SamplerKind::kDpmpp3M},
      {R"("_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "deis")",
       SamplerKind::kDpmpp2M},
      {R"("_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++")",
       SamplerKind::kSdeDpmpp2M},
      {R"("_class_name": "UniPCMultistepScheduler", "solver_order": 3)", SamplerKind::kUniPc},
      {R"("_class_name": "LMSDiscreteScheduler")", SamplerKind::kLms},
      {R"("_class_name": "PNDMScheduler", "skip_prk_steps": true)", SamplerKind::kPndm},
      {R"("_class_name": "DEISMultistepScheduler", "algorithm_type": "dpmsolver")",
       SamplerKind::kDeis},
  };
  for (const auto& [keys, sampler] : cases) {
    EXPECT_EQ(Parse(absl::StrCat("{", keys, "}")).default_sampler, sampler) << keys;
  }
  const std::string dpm = R"({"_class_name": "DPMSolverMultistepScheduler", )";
  ExpectRefused(dpm + R"("algorithm_type": "dpmsolver"})",
                R"(algorithm_type: "dpmsolver" is not served; set it to dpmsolver++)");
  ExpectRefused(dpm + R"("algorithm_type": "sde-dpmsolver"})", "set it to sde-dpmsolver++");
  ExpectRefused(dpm + R"("algorithm_type": "sde-dpmsolver++", "solver_order": 3})",
                "solver_order: 3 with sde-dpmsolver++ is not served");
  const auto skips_prk = [](const char* rest) {
    return Parse(absl::StrCat(R"({"_class_name": "PNDMScheduler")", rest, "}")).skip_prk_steps;
  };
  EXPECT_EQ(skips_prk(""), std::nullopt);
  EXPECT_EQ(skips_prk(R"(, "skip_prk_steps": false)"), false);
  EXPECT_EQ(skips_prk(R"(, "skip_prk_steps": true)"), true);
  // Heun's class has betas of its own.
  EXPECT_EQ(Parse(R"({"_class_name": "HeunDiscreteScheduler"})").betas,
            MakeBetas(BetaSchedule::kLinear, 1000, 0.00085, 0.012));
}

TEST(SchedulerConfigTest, ReadsSolverKeys) {
  const SchedulerConfig config = Parse(Ddpm(R"(
    "solver_order": 3, "solver_type": "heun", "lower_order_final": false, "euler_at_final": true,
    "final_sigmas_type": "sigma_min", "use_karras_sigmas": true, "use_beta_sigmas": false,
    "sigma_min": 0.02, "sigma_max": null, "beta_schedule": "squaredcos_cap_v2",
    "variance_type": null, "lambda_min_clipped": -Infinity, "disable_corrector": [],
    "solver_p": null, "predict_x0": true, "flow_shift": 1.0, "time_shift_type": "exponential",
    "interpolation_type": "linear", "timestep_type": "discrete", "shift_terminal": null)"));
  EXPECT_EQ(config.solver_order, 3);
  EXPECT_EQ(config.solver_type, SolverType::kHeun);
  EXPECT_EQ(config.lower_order_final, false);
  EXPECT_EQ(config.euler_at_final, true);
  EXPECT_EQ(config.final_sigma, FinalSigma::kSigmaMin);
  EXPECT_EQ(config.sigmas, Sigmas::kKarras);
  EXPECT_EQ(config.sigma_min, 0.02);
  EXPECT_EQ(config.sigma_max, std::nullopt);
  EXPECT_EQ(config.variance, std::nullopt);
  EXPECT_TRUE(config.squared_cosine);
  EXPECT_THAT(config.ignored_keys, IsEmpty());
  EXPECT_EQ(Parse(Ddpm(R"("use_exponential_sigmas": true)")).sigmas, Sigmas::kExponential);
  EXPECT_EQ(Parse(Ddpm("")).sigmas, std::nullopt);
}

// Python writes these words, which are no JSON; within a text they are left alone.
TEST(SchedulerConfigTest, TakesPythonsInfinities) {
  EXPECT_THAT(Parse(Ddpm(R"("note": "a \" NaN", "b": [NaN, Infinity, -Infinity])")).ignored_keys,
              ElementsAre("b", "note"));
  ExpectRefused(Ddpm(R"("beta_start": NaN)"), R"(beta_start: "NaN" is not a number)");
  ExpectRefused(Ddpm(R"("lambda_min_clipped": Infinity)"),
                R"(lambda_min_clipped: "Infinity" is not served; only "-Infinity" is)");
}

TEST(SchedulerConfigTest, CutsLongValues) {
  const absl::Status status =
      ParseSchedulerConfig(
          Ddpm(absl::StrCat(R"("clip_sample": ")", std::string(10'000, 'x'), "\"")))
          .status();
  EXPECT_LT(status.message().size(), 200u);
}

}  // namespace
}  // namespace denoise
