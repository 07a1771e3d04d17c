// Requests, as they arrive at a server.
#include "denoise/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/text_proto.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

class RequestTest : public WireTest {
 protected:
  v1::SampleRequest Sent(const SampleRequest& request) {
    EXPECT_TRUE(client_.SampleAndWait(request).ok());
    return server_.sample_request();
  }
  v1::EvaluateRequest Sent(const EvaluateRequest& request) {
    EXPECT_TRUE(client_.EvaluateAndWait(request).ok());
    return server_.evaluate_request();
  }
};

TEST_F(RequestTest, EveryFieldOfARequestArrives) {
  SampleRequest request;
  request.model = "digits";
  request.model_version = 5;
  request.num_samples = 2;
  request.seed = 7;
  request.sampler = {.kind = Sampler::Kind::kDdim,
                     .steps = 9,
                     .eta = 0.5,
                     .spacing = Sampler::Spacing::kTrailing,
                     .variance = Sampler::Variance::kFixedLarge,
                     .clip_sample = false,
                     .clip_sample_range = 2.0f,
                     .use_clipped_model_output = true,
                     .timesteps = {999, 500.5f, 0},
                     .thresholding = false,
                     .flow_shift = 3.0f};
  request.class_labels = {3, 4};
  request.guidance_scale = 2.5f;
  request.priority = -7;
  request.initial_noise = Tensor{{2, 1, 1, 1}, {0.25f, -0.5f}};
  request.states = {.every_n_steps = 4,
                    .steps = {0, 2},
                    .content = {Content::kXt, Content::kPredictedX0},
                    .encoding = Encoding::kPng,
                    .decode = true};
  request.decode = true;
  EXPECT_THAT(Sent(request), EqualsProto(R"pb(
                model: "digits"
                model_version: 5
                num_samples: 2
                seed: 7
                sampler {
                  kind: KIND_DDIM
                  steps: 9
                  eta: 0.5
                  timestep_spacing: TIMESTEP_SPACING_TRAILING
                  variance: VARIANCE_FIXED_LARGE
                  clip_sample: false
                  clip_sample_range: 2
                  use_clipped_model_output: true
                  timesteps: [ 999, 500.5, 0 ]
                  thresholding: false
                  flow_shift: 3
                }
                class_labels: [ 3, 4 ]
                guidance_scale: 2.5
                priority: -7
                initial_noise {
                  dtype: DATA_TYPE_FLOAT32
                  shape: [ 2, 1, 1, 1 ]
                  data: "\0\0\x80\x3e\0\0\0\xbf"
                }
                states {
                  every_n_steps: 4
                  steps: [ 0, 2 ]
                  content: [ CONTENT_X_T, CONTENT_PREDICTED_X_0 ]
                  encoding: ENCODING_PNG
                  decode: true
                }
                encoding: ENCODING_RAW
                decode: true)pb"));
}

TEST_F(RequestTest, WhatIsAbsentStaysAbsent) {
  SampleRequest request;
  request.states.content = {Content::kNone};
  v1::SampleRequest got = Sent(request);
  EXPECT_THAT(
      got,
      EqualsProto(
          "num_samples: 1 sampler {} states { encoding: ENCODING_RAW } encoding: ENCODING_RAW"));

  EvaluateRequest evaluate;
  evaluate.x_0 = {{2, 1, 1, 1}, {0.25f, -0.5f}};
  EXPECT_FALSE(Sent(evaluate).has_seed());
  EXPECT_FALSE(Sent(evaluate).has_clip_sample());
}

TEST_F(RequestTest, GuidanceArrives) {
  SampleRequest request;
  request.guidance_rescale = 0.7f;
  request.guidance_interval = {.sigma_min = 0.25f, .sigma_max = 5};
  request.negative_class_labels = {2};
  request.negative_conditions["text"] = Tensor{{1, 1}, {2}};
  const v1::SampleRequest got = Sent(request);
  EXPECT_EQ(got.guidance_rescale(), 0.7f);
  EXPECT_THAT(got.guidance_interval(), EqualsProto("sigma_min: 0.25 sigma_max: 5"));
  EXPECT_THAT(got.negative_class_labels(), ::testing::ElementsAre(2));
  ASSERT_EQ(got.negative_conditions().count("text"), 1u);
  EXPECT_EQ(got.negative_conditions().at("text").dtype(), v1::DATA_TYPE_FLOAT32);
}

TEST_F(RequestTest, ConditionsKeepTheirTypes) {
  SampleRequest request;
  request.conditions["floats"] = Tensor{{1, 2}, {0.25f, -0.5f}};
  request.conditions["integers"] = {{1, 2}, std::vector<int64_t>{258, -1}};
  request.conditions["bools"] = {{1, 3}, std::vector<bool>{true, false, true}};
  EXPECT_EQ(request.conditions["floats"].dtype(), DataType::kFloat32);
  EXPECT_EQ(request.conditions["integers"].dtype(), DataType::kInt64);
  EXPECT_EQ(request.conditions["bools"].dtype(), DataType::kBool);
  const auto conditions = Sent(request).conditions();
  EXPECT_THAT(conditions.at("floats"), EqualsProto(R"pb(
                dtype: DATA_TYPE_FLOAT32
                shape: [ 1, 2 ]
                data: "\0\0\x80\x3e\0\0\0\xbf")pb"));
  EXPECT_THAT(conditions.at("integers"), EqualsProto(R"pb(
                dtype: DATA_TYPE_INT64
                shape: [ 1, 2 ]
                data: "\2\1\0\0\0\0\0\0\377\377\377\377\377\377\377\377")pb"));
  EXPECT_THAT(conditions.at("bools"), EqualsProto(R"pb(
                dtype: DATA_TYPE_BOOL
                shape: [ 1, 3 ]
                data: "\1\0\1")pb"));
}

TEST_F(RequestTest, ImagesArrive) {
  SampleRequest request;
  request.image_to_image = {.image = {{1, 1, 1, 1}, {0.25f}}, .strength = 0.5f};
  request.inpainting = {.image = {{1, 1, 1, 1}, {-0.5f}},
                        .mask = {{1, 1, 1, 1}, {1}},
                        .jump_length = 10,
                        .jump_samples = 3};
  const v1::SampleRequest got = Sent(request);
  EXPECT_THAT(got.image_to_image(), EqualsProto(R"pb(
                image {
                  dtype: DATA_TYPE_FLOAT32
                  shape: [ 1, 1, 1, 1 ]
                  data: "\0\0\x80\x3e"
                }
                strength: 0.5)pb"));
  EXPECT_THAT(got.inpainting(), EqualsProto(R"pb(
                image {
                  dtype: DATA_TYPE_FLOAT32
                  shape: [ 1, 1, 1, 1 ]
                  data: "\0\0\0\xbf"
                }
                mask {
                  dtype: DATA_TYPE_FLOAT32
                  shape: [ 1, 1, 1, 1 ]
                  data: "\0\0\x80\x3f"
                }
                jump_length: 10
                jump_samples: 3)pb"));
}

// The wire has room for one, so the other would be lost in silence.
TEST_F(RequestTest, TwoBeginningsAreRefusedBeforeTheServerIsAsked) {
  bool asked = false;
  server_.on_sample = [&](const v1::SampleRequest&) {
    asked = true;
    return Script{};
  };
  SampleRequest request;
  request.initial_noise = Tensor{{1, 1, 1, 1}, {0}};
  request.image_to_image = ImageToImage{.image = {{1, 1, 1, 1}, {0}}};
  const auto status = client_.SampleAndWait(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("initial_noise and image_to_image"));
  EXPECT_FALSE(asked);
}

TEST_F(RequestTest, EveryFieldOfAnEvaluationArrives) {
  EvaluateRequest request;
  request.model = "digits";
  request.model_version = 5;
  request.x_0 = {{2, 1, 1, 1}, {0.25f, -0.5f}};
  request.seed = 7;
  request.class_labels = {3, 4};
  request.conditions["tokens"] = {{1, 1}, std::vector<int64_t>{9}};
  request.num_timesteps = 50;
  request.clip_sample = false;
  EXPECT_THAT(Sent(request), EqualsProto(R"pb(
                model: "digits"
                model_version: 5
                seed: 7
                class_labels: [ 3, 4 ]
                num_timesteps: 50
                x_0 {
                  dtype: DATA_TYPE_FLOAT32
                  shape: [ 2, 1, 1, 1 ]
                  data: "\0\0\x80\x3e\0\0\0\xbf"
                }
                conditions {
                  key: "tokens"
                  value {
                    dtype: DATA_TYPE_INT64
                    shape: [ 1, 1 ]
                    data: "\t\0\0\0\0\0\0\0"
                  }
                }
                clip_sample: false)pb"));
}

}  // namespace
}  // namespace denoise
