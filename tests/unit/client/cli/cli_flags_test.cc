// From flags to requests.
#include <fstream>
#include <utility>

#include "client/cli/sample_command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/cli/parse_flags.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Parse(SampleFlags* flags, std::vector<std::string> arguments) {
  return ParseFlags(&AddSampleFlags, flags, std::move(arguments));
}

SampleRequest Request(std::vector<std::string> arguments, uint32_t default_steps = 50) {
  SampleFlags flags;
  EXPECT_EQ(Parse(&flags, std::move(arguments)), "");
  Model model;
  model.default_steps = default_steps;
  model.num_train_timesteps = 1000;
  return MakeSampleRequest(flags, model, {});
}

TEST(SampleFlagsTest, EverythingArrives) {
  const auto request = Request({"--model",
                                "digits",
                                "--model-version",
                                "2",
                                "--class",
                                "7",
                                "--n",
                                "16",
                                "--sampler",
                                "ddim",
                                "--steps",
                                "20",
                                "--eta",
                                "0.5",
                                "--guidance",
                                "2",
                                "--seed",
                                "1",
                                "--spacing",
                                "trailing",
                                "--variance",
                                "fixed-large",
                                "--no-clip",
                                "--clip-range",
                                "3",
                                "--use-clipped-model-output",
                                "--priority",
                                "-7"});
  EXPECT_EQ(request.model, "digits");
  EXPECT_EQ(request.model_version, 2);
  EXPECT_THAT(request.class_labels, ElementsAre(7));
  EXPECT_EQ(request.num_samples, 16u);
  EXPECT_EQ(request.sampler.kind, Sampler::Kind::kDdim);
  EXPECT_EQ(request.sampler.steps, 20u);
  EXPECT_EQ(request.sampler.eta, 0.5f);
  EXPECT_EQ(request.guidance_scale, 2.0f);
  EXPECT_EQ(request.seed, 1u);
  EXPECT_EQ(request.sampler.spacing, Sampler::Spacing::kTrailing);
  EXPECT_EQ(request.sampler.variance, Sampler::Variance::kFixedLarge);
  EXPECT_EQ(request.sampler.clip_sample, false);
  EXPECT_EQ(request.sampler.clip_sample_range, 3.0f);
  EXPECT_TRUE(request.sampler.use_clipped_model_output);
  EXPECT_EQ(request.priority, -7);
}

TEST(SampleFlagsTest, TheTenantGoesAsMetadata) {
  SampleFlags flags;
  ASSERT_EQ(Parse(&flags, {"--tenant", "alice"}), "");
  EXPECT_THAT(flags.common.call_options().metadata,
              ElementsAre(std::pair<std::string, std::string>("denoise-tenant", "alice")));
  EXPECT_TRUE(SampleFlags().common.call_options().metadata.empty());
}

TEST(SampleFlagsTest, APriorityHasBounds) {
  SampleFlags flags;
  EXPECT_THAT(Parse(&flags, {"--priority", "101"}),
              HasSubstr("'101' is not a whole number of -100 to 100"));
}

TEST(SampleFlagsTest, WhatIsNotSaidIsLeftToTheModel) {
  const auto request = Request({});
  EXPECT_EQ(request.num_samples, 1u);
  EXPECT_FALSE(request.seed.has_value());
  EXPECT_FALSE(request.guidance_scale.has_value());
  EXPECT_FALSE(request.sampler.clip_sample.has_value());
  EXPECT_FALSE(request.sampler.thresholding.has_value());
  EXPECT_FALSE(request.sampler.flow_shift.has_value());
  EXPECT_FALSE(request.guidance_interval.has_value());
  EXPECT_EQ(request.guidance_rescale, 0);
  EXPECT_EQ(request.sampler.kind, Sampler::Kind::kModelDefault);
  EXPECT_EQ(request.sampler.steps, 0u);
  EXPECT_TRUE(request.class_labels.empty());
}

TEST(SampleFlagsTest, TimesThresholdingAndShift) {
  const auto request =
      Request({"--timesteps", "999,500.5,0", "--thresholding", "--flow-shift", "3", "--clip"});
  EXPECT_THAT(request.sampler.timesteps, ElementsAre(999, 500.5f, 0));
  EXPECT_EQ(request.sampler.thresholding, true);
  EXPECT_EQ(request.sampler.flow_shift, 3.0f);
  EXPECT_EQ(request.sampler.clip_sample, true);
  EXPECT_EQ(Request({"--no-thresholding"}).sampler.thresholding, false);
}

TEST(SampleFlagsTest, Guidance) {
  const auto request = Request({"--guidance-rescale", "0.7", "--guidance-interval", "0.25,5",
                                "--negative-class", "1,2", "--n", "3"});
  EXPECT_EQ(request.guidance_rescale, 0.7f);
  ASSERT_TRUE(request.guidance_interval.has_value());
  EXPECT_EQ(request.guidance_interval->sigma_min, 0.25f);
  EXPECT_EQ(request.guidance_interval->sigma_max, 5);
  EXPECT_THAT(request.negative_class_labels, ElementsAre(1, 2, 1));
  EXPECT_THAT(Request({"--negative-class", "4", "--n", "3"}).negative_class_labels, ElementsAre(4));
}

TEST(SampleFlagsTest, FilesAreKept) {
  SampleFlags flags;
  EXPECT_EQ(Parse(&flags, {"--condition", "text=a=b.npy", "--condition", "size=c.NPY",
                           "--negative-condition", "text=d.npy", "--image", "a.png", "--strength",
                           "0.5", "--inpaint", "b.npy", "--mask", "c.PNG", "--jump-length", "10",
                           "--jump-samples", "3"}),
            "");
  ASSERT_EQ(flags.conditions.size(), 2u);
  EXPECT_EQ(flags.conditions[0].name, "text");
  EXPECT_EQ(flags.conditions[0].path, "a=b.npy");
  EXPECT_EQ(flags.conditions[1].name, "size");
  EXPECT_EQ(flags.negative_conditions.at(0).path, "d.npy");
  EXPECT_THAT(flags.images, ElementsAre("a.png"));
  EXPECT_EQ(flags.strength, 0.5f);
  EXPECT_THAT(flags.inpaint, ElementsAre("b.npy"));
  EXPECT_EQ(flags.mask, "c.PNG");
  EXPECT_EQ(flags.jump_length, 10u);
  EXPECT_EQ(flags.jump_samples, 3u);
}

// What is streamed goes by the steps that will be made.
TEST(SampleFlagsTest, StepsOfAPartOrOfAList) {
  SampleFlags flags;
  ASSERT_EQ(Parse(&flags, {"--steps", "1000", "--image", "a.png", "--strength", "0.3"}), "");
  SampleRequest inputs;
  inputs.image_to_image = ImageToImage{.image = {}, .strength = 0.3f};
  EXPECT_EQ(MakeSampleRequest(flags, {}, inputs).states.every_n_steps, 3u);
  EXPECT_EQ(Request({"--timesteps", "9,5,0"}, 1000).states.every_n_steps, 1u);
}

TEST(SampleFlagsTest, AsManySamplesAsTheFilesHold) {
  const auto count = [](SampleRequest inputs) {
    return MakeSampleRequest({}, {}, std::move(inputs)).num_samples;
  };
  const Tensor three{{3, 1, 1, 1}, {0, 0, 0}};
  const Tensor one{{1, 1, 1, 1}, {0}};
  SampleRequest inputs;
  inputs.initial_noise = three;
  EXPECT_EQ(count(inputs), 3u);
  inputs = {};
  inputs.image_to_image = ImageToImage{.image = three};
  EXPECT_EQ(count(inputs), 3u);
  inputs = {};
  inputs.inpainting = Inpainting{.image = three, .mask = one};
  EXPECT_EQ(count(inputs), 3u);
  inputs.inpainting = Inpainting{.image = one, .mask = three};
  EXPECT_EQ(count(inputs), 3u);
  inputs = {};
  inputs.conditions["text"] = three;
  EXPECT_EQ(count(inputs), 3u);
  SampleFlags flags;
  flags.num_samples = 2;
  EXPECT_EQ(MakeSampleRequest(flags, {}, inputs).num_samples, 2u) << "the flag counts";
}

TEST(SampleFlagsTest, ClassesAreTakenInTurn) {
  EXPECT_THAT(Request({"--class", "1,2,3"}).class_labels, ElementsAre(1, 2, 3));
  EXPECT_EQ(Request({"--class", "1,2,3"}).num_samples, 3u);
  EXPECT_THAT(Request({"--class", "1", "--class", "2", "--n", "5"}).class_labels,
              ElementsAre(1, 2, 1, 2, 1));
  EXPECT_LT(Request({"--class", "1,2", "--n", "4000000000"}).class_labels.size(), 1u << 21);
}

TEST(SampleFlagsTest, AnAnimationHasSixtyFramesAtMost) {
  for (const uint32_t steps : {1u, 10u, 50u, 58u, 59u, 60u, 100u, 250u, 999u, 1000u, 4000u}) {
    const auto request = Request({"--animate", "a.gif"}, steps);
    const uint32_t every = request.states.every_n_steps;
    ASSERT_GT(every, 0u);
    const uint32_t frames = 1 + steps / every + (steps % every != 0);
    EXPECT_LE(frames, 60u) << steps;
    EXPECT_GE(frames, std::min(steps + 1, 30u)) << steps;
    EXPECT_THAT(request.states.steps, ElementsAre(0)) << "begins with noise";
    EXPECT_THAT(request.states.content, ElementsAre(Content::kXt));
  }
}

TEST(SampleFlagsTest, WithoutPicturesOnlyProgressIsStreamed) {
  const auto request = Request({}, 1000);
  EXPECT_TRUE(request.states.content.empty());
  EXPECT_EQ(request.states.every_n_steps, 10u);
  EXPECT_EQ(Request({"--every", "7"}).states.every_n_steps, 7u);
}

TEST(SampleFlagsTest, BothContents) {
  const auto request = Request({"--animate", "a.png", "--content", "x_t,x_0", "--every", "5"});
  EXPECT_THAT(request.states.content, ElementsAre(Content::kXt, Content::kPredictedX0));
  EXPECT_EQ(request.states.every_n_steps, 5u);
}

TEST(SampleFlagsTest, WhatIsRefusedIsNamed) {
  SampleFlags flags;
  EXPECT_THAT(Parse(&flags, {"--sampler", "dpm"}), HasSubstr("'dpm' is none of ddpm|ddim|"));
  EXPECT_THAT(Parse(&flags, {"--steps", "0"}), HasSubstr("--steps: '0'"));
  EXPECT_THAT(Parse(&flags, {"--steps", "-1"}), HasSubstr("'-1'"));
  EXPECT_THAT(Parse(&flags, {"--out", "x.jpg"}), HasSubstr("'x.jpg' must end with .png or .npy"));
  EXPECT_THAT(Parse(&flags, {"--animate", "x.npy"}), HasSubstr(".gif or .png"));
  EXPECT_THAT(Parse(&flags, {"--clip", "--no-clip"}), HasSubstr("clip"));
  EXPECT_THAT(Parse(&flags, {"--timeout", "soon"}), HasSubstr("500ms, 10s or 2m"));
  EXPECT_THAT(Parse(&flags, {"--timeout", "-1"}), HasSubstr("'-1'"));
  EXPECT_NE(Parse(&flags, {"--frobnicate"}), "");
  for (const char* other : {"--steps=5", "--spacing=leading", "--sigmas=karras"}) {
    EXPECT_THAT(Parse(&flags, {"--timesteps", "9,0", other}), HasSubstr("excludes")) << other;
  }
  EXPECT_THAT(Parse(&flags, {"--thresholding", "--no-thresholding"}), HasSubstr("thresholding"));
  for (const char* interval : {"1", "1,2,3", "a,b", ""}) {
    EXPECT_THAT(Parse(&flags, {"--guidance-interval", interval}), HasSubstr("is not MIN,MAX"));
  }
  for (const char* condition : {"text", "=a.npy", "text=a.png"}) {
    EXPECT_THAT(Parse(&flags, {"--condition", condition}), HasSubstr("is not NAME=FILE.npy"));
  }
  EXPECT_THAT(Parse(&flags, {"--condition", "a=b.npy", "--condition", "a=c.npy"}),
              HasSubstr("'a' is given twice"));
  EXPECT_THAT(Parse(&flags, {"--image", "x.jpg"}), HasSubstr(".png or .npy"));
  EXPECT_THAT(Parse(&flags, {"--image", "x.png", "--initial-noise", "x.npy"}),
              HasSubstr("excludes"));
  EXPECT_THAT(Parse(&flags, {"--strength", "0.5"}), HasSubstr("requires --image"));
  EXPECT_THAT(Parse(&flags, {"--inpaint", "x.png"}), HasSubstr("requires --mask"));
  EXPECT_THAT(Parse(&flags, {"--mask", "x.png"}), HasSubstr("requires --inpaint"));
  EXPECT_THAT(Parse(&flags, {"--inpaint", "x.png", "--mask", "x.png", "--jump-length", "5"}),
              HasSubstr("requires --jump-samples"));
  SampleFlags others;
  EXPECT_THAT(Parse(&others, {"--content", "x_t"}), HasSubstr("needs --animate or --states"));
}

TEST(SampleFlagsTest, Durations) {
  SampleFlags flags;
  EXPECT_EQ(Parse(&flags, {"--timeout", "1.5", "--connect-timeout", "200ms"}), "");
  EXPECT_EQ(flags.common.timeout, absl::Milliseconds(1500));
  EXPECT_EQ(flags.common.connect_timeout, absl::Milliseconds(200));
}

TEST(SampleFlagsTest, TheAddressFromTheEnvironment) {
  setenv("DENOISE_ADDRESS", "there:1", 1);
  SampleFlags flags;
  EXPECT_EQ(Parse(&flags, {}), "");
  EXPECT_EQ(flags.common.address, "there:1");
  EXPECT_EQ(Parse(&flags, {"--address", "here:2"}), "");
  EXPECT_EQ(flags.common.address, "here:2");
  unsetenv("DENOISE_ADDRESS");
}

}  // namespace
}  // namespace denoise::cli
