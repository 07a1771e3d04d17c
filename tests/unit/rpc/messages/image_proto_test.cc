// Image to image and inpainting, through the validator.
#include "server/rpc/messages/image_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/unit/rpc/validator_fixture.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using ImageTest = ValidatorTest;
using S = v1::SampleRequest;

ModelInfo TwoChannels() {
  ModelInfo model = TestModel();
  model.shape = {2, 1, 2};
  return model;
}

std::string Image(const v1::Tensor& image) {
  return absl::StrCat("image_to_image { ", Text("image", image), "}");
}
std::string Inpaint(const char* field, const v1::Tensor& tensor) {
  return absl::StrCat("inpainting { ", Text(field, tensor), "} ");
}

S ImageToImage() {
  return Proto<S>("num_samples: 2 image_to_image { strength: 0.5 }" + Image(Values({2, 1, 2, 3})));
}

S Inpainting() {
  return Proto<S>("num_samples: 2 " + Inpaint("image", Values({1, 1, 2, 3})) +
                  Inpaint("mask", Values({1, 1, 2, 3}, 1)));
}

TEST_F(ImageTest, ImageToImage) {
  S message = ImageToImage();
  auto validated = Validate(message);
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_EQ(validated->request.image.size(), 12u);
  EXPECT_THAT(validated->request.image, Each(0.5f));
  EXPECT_THAT(validated->request.start, IsEmpty());  // the noise is drawn
  EXPECT_THAT(validated->request.known, IsEmpty());
  EXPECT_EQ(validated->request.table->total_steps, 10u);  // half of the model's 20
  EXPECT_GT(validated->request.table->image_scale, 0);

  // One for both, a little outside, as samples are.
  *message.mutable_image_to_image()->mutable_image() = Values({1, 1, 2, 3}, 1.25f);
  validated = Validate(message);
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_EQ(validated->request.image.size(), 6u);
}

TEST_F(ImageTest, Inpainting) {
  S message = Inpainting();
  auto validated = Validate(message);
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_EQ(validated->request.known.size(), 6u);
  EXPECT_THAT(validated->request.mask, ElementsAre(1, 1, 1, 1, 1, 1));
  EXPECT_THAT(validated->request.image, IsEmpty());
  EXPECT_EQ(validated->request.table->rows.back().blend, Blend::kKnown);

  // Together, each of its own kind.
  *message.mutable_image_to_image() = ImageToImage().image_to_image();
  *message.mutable_inpainting()->mutable_mask() = Values({2, 1, 2, 3}, 0.25f);
  validated = Validate(message);
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_EQ(validated->request.image.size(), 12u);
  EXPECT_EQ(validated->request.known.size(), 6u);
  EXPECT_EQ(validated->request.mask.size(), 12u);
}

TEST_F(ImageTest, AMaskOfOneChannelCountsForAll) {
  S message = Inpainting();
  *message.mutable_inpainting()->mutable_image() = Values({1, 2, 1, 2});
  v1::Tensor* mask = message.mutable_inpainting()->mutable_mask();
  SetTensor({2, 1, 1, 2}, std::vector<float>{0, 0.25f, 0.5f, 1}, mask);
  auto validated = Validate(message, TwoChannels());
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_THAT(validated->request.mask, ElementsAre(0, 0.25f, 0, 0.25f, 0.5f, 1, 0.5f, 1));

  SetTensor({1, 2, 1, 2}, std::vector<float>{0, 0.25f, 0.5f, 1}, mask);
  validated = Validate(message, TwoChannels());
  ASSERT_TRUE(validated.ok()) << validated.status();
  EXPECT_THAT(validated->request.mask, ElementsAre(0, 0.25f, 0.5f, 1));
}

TEST_F(ImageTest, BadImagesAreToldFieldValueAndFix) {
  const S good = Proto<S>("num_samples: 2 image_to_image { strength: 0.5 }");
  ExpectRefused(
      good,
      {
          {"", "image_to_image.image", {"missing", "[1 or n, C, H, W]"}},
          {Image(Values({2, 1, 3, 2})),
           "image_to_image.image.shape",
           {"[2, 1, 3, 2] is not [1 or 2, 1, 2, 3]"}},
          {Image(Values({3, 1, 2, 3})), "image_to_image.image.shape", {"[3, 1, 2, 3]"}},
          {Image(Values({1, 1, 2, 3}, 255)), "image_to_image.image.data", {"255", "-1.5..1.5"}},
          {Image(Values({1, 1, 2, 3}, kNan)), "image_to_image.image.data", {"nan"}},
          {Image({}), "image_to_image.image.dtype", {"0", "FLOAT32"}},
      });
  ExpectRefused(
      ImageToImage(),
      {
          {"image_to_image { strength: 0 }", "image_to_image.strength", {"0 is not above 0"}},
          {"image_to_image { strength: 1.5 }", "image_to_image.strength", {"1.5", "at most 1"}},
          {"image_to_image { strength: nan }", "image_to_image.strength", {"nan"}},
          {"image_to_image { strength: 0.01 }",
           "image_to_image.strength",
           {"0.01", "20 steps", "0.05"}},
      });
}

TEST_F(ImageTest, BadMasksAreToldFieldValueAndFix) {
  const v1::Tensor tensor = Values({1, 1, 2, 3});
  const S image = Proto<S>("num_samples: 2 " + Inpaint("image", tensor));
  ExpectRefused(
      image,
      {
          {"", "inpainting.mask", {"missing", "1 where the image is kept"}},
          {Inpaint("mask", Values({1, 1, 2, 2})),
           "inpainting.mask.shape",
           {"[1, 1, 2, 2] is not [1 or 2, 1, 2, 3]"}},
          {Inpaint("mask", Values({1, 1, 2, 3}, 1.5f)), "inpainting.mask.data", {"1.5", "0..1"}},
          {Inpaint("mask", Values({1, 1, 2, 3}, -0.5f)), "inpainting.mask.data", {"-0.5", "0..1"}},
          {Inpaint("mask", Values({1, 1, 2, 3}, kNan)), "inpainting.mask.data", {"nan"}},
      });
  const S mask = Proto<S>("num_samples: 2 " + Inpaint("mask", tensor));
  ExpectRefused(
      mask, {
                {"", "inpainting.image", {"missing"}},
                {Inpaint("image", Values({1, 1, 2, 3}, -1.75f)),
                 "inpainting.image.data",
                 {"-1.75", "-1.5..1.5"}},
                {Inpaint("image", Values({1, 1, 2, 3}, kNan)), "inpainting.image.data", {"nan"}},
            });
  ExpectRefused(S(), {{"num_samples: 2 " + Inpaint("image", Values({1, 2, 1, 2})) +
                           Inpaint("mask", Values({1, 3, 1, 2})),
                       "inpainting.mask.shape",
                       {"[1, 3, 1, 2] is not [1 or 2, 1 or 2, 1, 2]"},
                       TwoChannels()}});
  ExpectRefused(
      Inpainting(),
      {
          {"inpainting { jump_samples: 3 }", "inpainting.jump_length", {"0 is not in 1..19"}},
          {"sampler { kind: KIND_DPMPP_2M } inpainting { jump_length: 2 jump_samples: 2 }",
           "inpainting.jump_samples",
           {"dpmpp_2m", "ddim"}},
          {"inpainting { jump_length: 1 jump_samples: 4294967295 }",
           "inpainting.jump_samples",
           {"4294967295", "at most"}},
      });
}

}  // namespace
}  // namespace denoise
