// Requests, as they arrive at a server.
#include <string>
#include <vector>

#include "denoise/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RequestTest : public ::testing::Test {
 protected:
  RequestTest() : client_(*Client::Connect(server_.address())) {}

  FakeServer server_;
  Client client_;
};

TEST_F(RequestTest, EveryFieldOfARequestArrives) {
  v1::SampleRequest got;
  server_.on_sample = [&](const v1::SampleRequest& request) {
    got = request;
    return Script{Serialise(Chain(2, 1)), {}, false};
  };
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
  ASSERT_TRUE(client_.SampleAndWait(request).ok());
  EXPECT_TRUE(got.decode());
  EXPECT_TRUE(got.states().decode());
  EXPECT_EQ(got.model(), "digits");
  EXPECT_EQ(got.model_version(), 5);
  EXPECT_EQ(got.seed(), 7u);
  EXPECT_EQ(got.sampler().kind(), v1::Sampler::KIND_DDIM);
  EXPECT_EQ(got.sampler().steps(), 9u);
  EXPECT_EQ(got.sampler().eta(), 0.5f);
  EXPECT_EQ(got.sampler().timestep_spacing(), v1::Sampler::TIMESTEP_SPACING_TRAILING);
  EXPECT_EQ(got.sampler().variance(), v1::Sampler::VARIANCE_FIXED_LARGE);
  EXPECT_TRUE(got.sampler().has_clip_sample());
  EXPECT_FALSE(got.sampler().clip_sample());
  EXPECT_EQ(got.sampler().clip_sample_range(), 2.0f);
  EXPECT_TRUE(got.sampler().use_clipped_model_output());
  EXPECT_THAT(got.sampler().timesteps(), ElementsAre(999, 500.5f, 0));
  EXPECT_TRUE(got.sampler().has_thresholding());
  EXPECT_FALSE(got.sampler().thresholding());
  EXPECT_EQ(got.sampler().flow_shift(), 3.0f);
  EXPECT_THAT(got.class_labels(), ElementsAre(3, 4));
  EXPECT_EQ(got.guidance_scale(), 2.5f);
  EXPECT_EQ(got.priority(), -7);
  EXPECT_THAT(got.initial_noise().shape(), ElementsAre(2, 1, 1, 1));
  EXPECT_EQ(got.initial_noise().data(), std::string("\0\0\x80\x3e\0\0\0\xbf", 8));
  EXPECT_EQ(got.states().every_n_steps(), 4u);
  EXPECT_THAT(got.states().steps(), ElementsAre(0, 2));
  EXPECT_THAT(got.states().content(), ElementsAre(v1::CONTENT_X_T, v1::CONTENT_PREDICTED_X_0));
  EXPECT_EQ(got.states().encoding(), v1::ENCODING_PNG);
  EXPECT_EQ(got.encoding(), v1::ENCODING_RAW);
}

TEST_F(RequestTest, WhatIsAbsentStaysAbsent) {
  v1::SampleRequest got;
  server_.on_sample = [&](const v1::SampleRequest& request) {
    got = request;
    return Script{Serialise(Chain(1, 1)), {}, false};
  };
  SampleRequest request;
  request.states.content = {Content::kNone};
  ASSERT_TRUE(client_.SampleAndWait(request).ok());
  EXPECT_FALSE(got.has_seed());
  EXPECT_FALSE(got.has_guidance_scale());
  EXPECT_FALSE(got.sampler().has_clip_sample());
  EXPECT_FALSE(got.sampler().has_clip_sample_range());
  EXPECT_FALSE(got.sampler().has_thresholding());
  EXPECT_FALSE(got.sampler().has_flow_shift());
  EXPECT_EQ(got.start_case(), v1::SampleRequest::START_NOT_SET);
  EXPECT_FALSE(got.has_inpainting());
  EXPECT_FALSE(got.has_guidance_interval());
  EXPECT_EQ(got.guidance_rescale(), 0);
  EXPECT_TRUE(got.conditions().empty());
  EXPECT_EQ(got.states().content_size(), 0);
}

TEST_F(RequestTest, GuidanceArrives) {
  v1::SampleRequest got;
  server_.on_sample = [&](const v1::SampleRequest& request) {
    got = request;
    return Script{Serialise(Chain(1, 1)), {}, false};
  };
  SampleRequest request;
  request.guidance_rescale = 0.7f;
  request.guidance_interval = {.sigma_min = 0.25f, .sigma_max = 5};
  request.negative_class_labels = {2};
  request.negative_conditions["text"] = Tensor{{1, 1}, {2}};
  ASSERT_TRUE(client_.SampleAndWait(request).ok());
  EXPECT_EQ(got.guidance_rescale(), 0.7f);
  EXPECT_EQ(got.guidance_interval().sigma_min(), 0.25f);
  EXPECT_EQ(got.guidance_interval().sigma_max(), 5);
  EXPECT_THAT(got.negative_class_labels(), ElementsAre(2));
  ASSERT_EQ(got.negative_conditions().count("text"), 1u);
  EXPECT_EQ(got.negative_conditions().at("text").dtype(), v1::DATA_TYPE_FLOAT32);
}

TEST_F(RequestTest, ConditionsKeepTheirTypes) {
  v1::SampleRequest got;
  server_.on_sample = [&](const v1::SampleRequest& request) {
    got = request;
    return Script{Serialise(Chain(1, 1)), {}, false};
  };
  SampleRequest request;
  request.conditions["floats"] = Tensor{{1, 2}, {0.25f, -0.5f}};
  request.conditions["integers"] = {{1, 2}, std::vector<int64_t>{258, -1}};
  request.conditions["bools"] = {{1, 3}, std::vector<bool>{true, false, true}};
  EXPECT_EQ(request.conditions["floats"].dtype(), DataType::kFloat32);
  EXPECT_EQ(request.conditions["integers"].dtype(), DataType::kInt64);
  EXPECT_EQ(request.conditions["bools"].dtype(), DataType::kBool);
  ASSERT_TRUE(client_.SampleAndWait(request).ok());
  const auto& floats = got.conditions().at("floats");
  EXPECT_EQ(floats.dtype(), v1::DATA_TYPE_FLOAT32);
  EXPECT_THAT(floats.shape(), ElementsAre(1, 2));
  EXPECT_EQ(floats.data(), std::string("\0\0\x80\x3e\0\0\0\xbf", 8));
  const auto& integers = got.conditions().at("integers");
  EXPECT_EQ(integers.dtype(), v1::DATA_TYPE_INT64);
  EXPECT_EQ(integers.data(), std::string("\2\1\0\0\0\0\0\0", 8) + std::string(8, '\xff'));
  const auto& bools = got.conditions().at("bools");
  EXPECT_EQ(bools.dtype(), v1::DATA_TYPE_BOOL);
  EXPECT_THAT(bools.shape(), ElementsAre(1, 3));
  EXPECT_EQ(bools.data(), std::string("\1\0\1", 3));
}

TEST_F(RequestTest, ImagesArrive) {
  v1::SampleRequest got;
  server_.on_sample = [&](const v1::SampleRequest& request) {
    got = request;
    return Script{Serialise(Chain(1, 1)), {}, false};
  };
  SampleRequest request;
  request.image_to_image = {.image = {{1, 1, 1, 1}, {0.25f}}, .strength = 0.5f};
  request.inpainting = {.image = {{1, 1, 1, 1}, {-0.5f}},
                        .mask = {{1, 1, 1, 1}, {1}},
                        .jump_length = 10,
                        .jump_samples = 3};
  ASSERT_TRUE(client_.SampleAndWait(request).ok());
  EXPECT_EQ(got.image_to_image().strength(), 0.5f);
  EXPECT_EQ(got.image_to_image().image().data(), std::string("\0\0\x80\x3e", 4));
  EXPECT_EQ(got.inpainting().image().data(), std::string("\0\0\0\xbf", 4));
  EXPECT_EQ(got.inpainting().mask().data(), std::string("\0\0\x80\x3f", 4));
  EXPECT_EQ(got.inpainting().jump_length(), 10u);
  EXPECT_EQ(got.inpainting().jump_samples(), 3u);
}

// The wire has room for one, so the other would be lost in silence.
TEST_F(RequestTest, TwoBeginningsAreRefusedBeforeTheServerIsAsked) {
  bool asked = false;
  server_.on_sample = [&](const v1::SampleRequest&) {
    asked = true;
    return Script{Serialise(Chain(1, 1)), {}, false};
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
  v1::EvaluateRequest got;
  server_.on_evaluate = [&](const v1::EvaluateRequest& request) {
    got = request;
    return Script{Serialise(Terms(2, {5, 0})), {}, false};
  };
  EvaluateRequest request;
  request.model = "digits";
  request.model_version = 5;
  request.x_0 = {{2, 1, 1, 1}, {0.25f, -0.5f}};
  request.seed = 7;
  request.class_labels = {3, 4};
  request.conditions["tokens"] = {{1, 1}, std::vector<int64_t>{9}};
  request.num_timesteps = 50;
  request.clip_sample = false;
  ASSERT_TRUE(client_.EvaluateAndWait(request).ok());
  EXPECT_EQ(got.model(), "digits");
  EXPECT_EQ(got.model_version(), 5);
  EXPECT_THAT(got.x_0().shape(), ElementsAre(2, 1, 1, 1));
  EXPECT_EQ(got.x_0().data(), std::string("\0\0\x80\x3e\0\0\0\xbf", 8));
  EXPECT_EQ(got.seed(), 7u);
  EXPECT_THAT(got.class_labels(), ElementsAre(3, 4));
  EXPECT_EQ(got.conditions().at("tokens").dtype(), v1::DATA_TYPE_INT64);
  EXPECT_EQ(got.num_timesteps(), 50u);
  EXPECT_TRUE(got.has_clip_sample());
  EXPECT_FALSE(got.clip_sample());

  EvaluateRequest sparse;
  sparse.x_0 = request.x_0;
  ASSERT_TRUE(client_.EvaluateAndWait(sparse).ok());
  EXPECT_FALSE(got.has_seed());
  EXPECT_FALSE(got.has_clip_sample());
}

}  // namespace
}  // namespace denoise
