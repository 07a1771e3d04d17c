// What of a scheduler_config.json makes a flow model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/diffusion/scheduler_config.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A file of a class with further keys, each `"key": value`.
std::string File(const std::string& class_name, const std::string& keys) {
  return absl::StrCat(R"({"_class_name": ")", class_name, keys.empty() ? "\"" : "\", ", keys, "}");
}
std::string FlowMatch(const std::string& keys) {
  return File("FlowMatchEulerDiscreteScheduler", keys);
}
// Of a class that may be that of a diffusion or of a flow model.
std::string Solver(const std::string& class_name, const std::string& keys) {
  return File(class_name,
              absl::StrCat(R"("use_flow_sigmas": true, "prediction_type": "flow_prediction")",
                           keys.empty() ? "" : ", ", keys));
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

TEST(FlowConfigTest, SparseFileHasTheDefaultsOfItsClass) {
  const SchedulerConfig config = Parse(FlowMatch(""));
  EXPECT_EQ(config.class_name, "FlowMatchEulerDiscreteScheduler");
  EXPECT_EQ(config.default_sampler, SamplerKind::kEuler);
  EXPECT_EQ(config.prediction, Prediction::kFlow);
  EXPECT_EQ(Name(config.prediction), "flow_prediction");
  EXPECT_THAT(config.betas, IsEmpty());
  EXPECT_EQ(config.num_train_timesteps(), 1000);
  ASSERT_TRUE(config.flow.has_value());
  EXPECT_EQ(config.flow->shift, 1);
  EXPECT_FALSE(config.flow->dynamic_shifting);
  EXPECT_EQ(config.flow->shift_terminal, std::nullopt);
  EXPECT_TRUE(ScheduleOf(config).is_flow());
  EXPECT_EQ(ScheduleOf(config).size(), 1000);
}

TEST(FlowConfigTest, ReadsWhatDiffusersWrites) {
  const SchedulerConfig config = Parse(FlowMatch(R"(
    "_diffusers_version": "0.42.1", "num_train_timesteps": 500, "shift": 3.0,
    "use_dynamic_shifting": true, "base_shift": 0.5, "max_shift": 1.15,
    "base_image_seq_len": 256, "max_image_seq_len": 4096, "invert_sigmas": false,
    "shift_terminal": 0.02, "use_karras_sigmas": false, "use_exponential_sigmas": false,
    "use_beta_sigmas": true, "time_shift_type": "linear", "stochastic_sampling": true,
    "another": 1)"));
  EXPECT_EQ(config.default_sampler, SamplerKind::kEulerAncestral);
  EXPECT_EQ(config.num_train_timesteps(), 500);
  EXPECT_EQ(config.flow->shift, 3);
  EXPECT_TRUE(config.flow->dynamic_shifting);
  EXPECT_EQ(config.flow->time_shift, TimeShift::kLinear);
  EXPECT_EQ(config.flow->shift_terminal, 0.02);
  EXPECT_EQ(config.sigmas, Sigmas::kBeta);
  EXPECT_THAT(config.ignored_keys, ElementsAre("another"));
}

TEST(FlowConfigTest, SolversHaveFlowModelsToo) {
  const std::pair<const char*, SamplerKind> classes[] = {
      {"DPMSolverMultistepScheduler", SamplerKind::kDpmpp2M},
      {"UniPCMultistepScheduler", SamplerKind::kUniPc},
      {"DEISMultistepScheduler", SamplerKind::kDeis}};
  for (const auto& [name, sampler] : classes) {
    const SchedulerConfig config = Parse(Solver(name, R"(
      "num_train_timesteps": 100, "flow_shift": 5, "beta_start": 0.1, "beta_end": 0.2,
      "beta_schedule": "linear", "trained_betas": null, "timestep_spacing": "linspace",
      "rescale_betas_zero_snr": false, "use_dynamic_shifting": false,
      "time_shift_type": "exponential", "shift_terminal": null)"));
    EXPECT_EQ(config.class_name, name);
    EXPECT_EQ(config.default_sampler, sampler);
    EXPECT_EQ(config.prediction, Prediction::kFlow);
    EXPECT_THAT(config.betas, IsEmpty());
    ASSERT_TRUE(config.flow.has_value());
    EXPECT_EQ(config.flow->shift, 5);
    EXPECT_EQ(config.num_train_timesteps(), 100);
    EXPECT_THAT(config.ignored_keys, IsEmpty());
    // The same keys, switched off, are a diffusion's.
    const SchedulerConfig diffusion = Parse(
        File(name, R"("use_flow_sigmas": false, "flow_shift": 5, "num_train_timesteps": 100)"));
    EXPECT_EQ(diffusion.flow, std::nullopt);
    EXPECT_EQ(diffusion.num_train_timesteps(), 100);
  }
}

TEST(FlowConfigTest, RefusesWhatIsNotServed) {
  const struct {
    std::string file;
    const char* message;
  } cases[] = {
      {FlowMatch(R"("prediction_type": "epsilon")"),
       R"(prediction_type: "epsilon" contradicts FlowMatchEulerDiscreteScheduler)"},
      {FlowMatch(R"("invert_sigmas": true)"), "invert_sigmas: true is not served"},
      {FlowMatch(R"("shift": 0)"), "shift: 0 is not a number between 0"},
      {FlowMatch(R"("shift_terminal": 1)"), "shift_terminal: 1 is not a number between 0 and 1"},
      {FlowMatch(R"("time_shift_type": "cubic")"),
       R"(time_shift_type: "cubic" is not one of exponential, linear)"},
      {FlowMatch(R"("num_train_timesteps": 0)"), "num_train_timesteps: 0 is not a whole number"},
      {FlowMatch(R"("use_karras_sigmas": true, "use_beta_sigmas": true)"), "contradicts"},
      {FlowMatch(R"("base_shift": "0.5")"), R"(base_shift: "0.5" is not a number)"},
      {FlowMatch(R"("rescale_betas_zero_snr": true)"),
       "rescale_betas_zero_snr: true is not served"},
      {File("UniPCMultistepScheduler", R"("use_flow_sigmas": true)"),
       "use_flow_sigmas: true is not served with prediction_type epsilon; it goes with "
       "flow_prediction"},
      {File("UniPCMultistepScheduler", R"("prediction_type": "flow_prediction")"),
       R"(prediction_type: "flow_prediction" needs use_flow_sigmas true, and one of )"
       "DPMSolverMultistepScheduler, UniPCMultistepScheduler, DEISMultistepScheduler"},
      {Solver("DDIMScheduler", ""), "use_flow_sigmas: true is not served with DDIMScheduler"},
      {Solver("EulerDiscreteScheduler", ""),
       "use_flow_sigmas: true is not served with EulerDiscreteScheduler"},
      {Solver("UniPCMultistepScheduler", R"("use_karras_sigmas": true)"),
       "use_flow_sigmas: true is not served with sigmas of a curve, karras"},
      {Solver("DPMSolverMultistepScheduler", R"("final_sigmas_type": "sigma_min")"),
       R"(final_sigmas_type: "sigma_min" is not served with use_flow_sigmas)"},
      {File("UniPCMultistepScheduler", R"("use_dynamic_shifting": true)"),
       "use_dynamic_shifting: true is for flow models"},
      {File("UniPCMultistepScheduler", R"("shift_terminal": 0.1)"),
       "shift_terminal: 0.1 is for flow models"},
      {File("EulerDiscreteScheduler", R"("stochastic_sampling": true)"),
       "stochastic_sampling: true is a key of FlowMatchEulerDiscreteScheduler"},
  };
  for (const auto& [file, message] : cases) ExpectRefused(file, message);
}

}  // namespace
}  // namespace denoise
