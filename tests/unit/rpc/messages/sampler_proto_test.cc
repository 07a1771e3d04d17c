#include "server/rpc/messages/sampler_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/rpc/test_model.h"
#include "tests/unit/text_proto.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(SamplerProtoTest, WhatIsLeftOpenIsTheModels) {
  ModelInfo model = TestModel();
  model.default_sampler = SamplerKind::kHeun;
  const auto options = OptionsOf({}, model);
  ASSERT_TRUE(options.ok()) << options.status();
  SamplerOptions expected;
  expected.kind = SamplerKind::kHeun;
  expected.steps = 20;
  EXPECT_EQ(*options, expected);
}

TEST(SamplerProtoTest, EveryField) {
  auto message = Proto<v1::SampleRequest>(R"pb(sampler {
                                                 kind: KIND_UNIPC
                                                 steps: 7
                                                 eta: 0.25
                                                 timestep_spacing: TIMESTEP_SPACING_TRAILING
                                                 sigmas: SIGMAS_BETA
                                                 variance: VARIANCE_FIXED_LARGE
                                                 clip_sample: false
                                                 clip_sample_range: 2
                                                 use_clipped_model_output: true
                                                 thresholding: true
                                                 flow_shift: 3
                                               })pb");
  const auto options = OptionsOf(message, TestModel());
  ASSERT_TRUE(options.ok()) << options.status();
  SamplerOptions expected;
  expected.kind = SamplerKind::kUniPc;
  expected.steps = 7;
  expected.eta = 0.25;
  expected.spacing = Spacing::kTrailing;
  expected.sigmas = Sigmas::kBeta;
  expected.variance = Variance::kFixedLarge;
  expected.clip_sample = false;
  expected.clip_sample_range = 2;
  expected.use_clipped_model_output = true;
  expected.thresholding = true;
  expected.flow_shift = 3;
  EXPECT_EQ(*options, expected);

  message.mutable_sampler()->set_thresholding(false);  // not the same as leaving it out
  EXPECT_EQ(OptionsOf(message, TestModel())->thresholding, false);
}

// The model's default steps are not the caller's, so that they contradict nothing.
TEST(SamplerProtoTest, TimestepsStandInPlaceOfSteps) {
  v1::SampleRequest message;
  for (const float t : {90.0f, 40.5f, 0.0f}) message.mutable_sampler()->add_timesteps(t);
  EXPECT_THAT(OptionsOf(message, TestModel())->timesteps, ElementsAre(90, 40.5f, 0));
  EXPECT_EQ(OptionsOf(message, TestModel())->steps, 0u);
  message.mutable_sampler()->set_steps(3);
  EXPECT_EQ(OptionsOf(message, TestModel())->steps, 3u);
}

TEST(SamplerProtoTest, WhatChainsBeginFromAndKeep) {
  v1::SampleRequest message;
  SamplerOptions options = *OptionsOf(message, TestModel());
  EXPECT_EQ(options.strength, std::nullopt);
  EXPECT_FALSE(options.inpainting);
  EXPECT_THAT(options.timesteps, IsEmpty());

  message.mutable_image_to_image()->set_strength(0.75f);
  message.mutable_inpainting()->set_jump_length(4);
  message.mutable_inpainting()->set_jump_samples(5);
  options = *OptionsOf(message, TestModel());
  EXPECT_EQ(options.strength, 0.75);
  EXPECT_TRUE(options.inpainting);
  EXPECT_EQ(options.jump_length, 4u);
  EXPECT_EQ(options.jump_samples, 5u);
  // No strength is one of 0, to be refused, and not the same as no image.
  message.mutable_image_to_image()->clear_strength();
  EXPECT_EQ(OptionsOf(message, TestModel())->strength, 0);
}

}  // namespace
}  // namespace denoise
