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

S ImageToImage() {
  S message;
  message.set_num_samples(2);
  *message.mutable_image_to_image()->mutable_image() = Values({2, 1, 2, 3});
  message.mutable_image_to_image()->set_strength(0.5f);
  return message;
}

S Inpainting() {
  S message;
  message.set_num_samples(2);
  *message.mutable_inpainting()->mutable_image() = Values({1, 1, 2, 3});
  *message.mutable_inpainting()->mutable_mask() = Values({1, 1, 2, 3}, 1);
  return message;
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

TEST_F(ImageTest, BadImagesAreToldFieldValueAndMend) {
  ExpectRefused(ImageToImage(),
                std::vector<Bad<S>>{
                    {"no image",
                     [](S* m) { m->mutable_image_to_image()->clear_image(); },
                     "image_to_image.image",
                     {"missing", "[1 or n, C, H, W]"}},
                    {"another shape",
                     [](S* m) {
                       *m->mutable_image_to_image()->mutable_image() = Values({2, 1, 3, 2});
                     },
                     "image_to_image.image.shape",
                     {"[2, 1, 3, 2] is not [1 or 2, 1, 2, 3]"}},
                    {"three for two samples",
                     [](S* m) {
                       *m->mutable_image_to_image()->mutable_image() = Values({3, 1, 2, 3});
                     },
                     "image_to_image.image.shape",
                     {"[3, 1, 2, 3]"}},
                    {"pixels of 255",
                     [](S* m) {
                       *m->mutable_image_to_image()->mutable_image() = Values({1, 1, 2, 3}, 255);
                     },
                     "image_to_image.image.data",
                     {"255", "-1.5..1.5"}},
                    {"NaN",
                     [](S* m) {
                       *m->mutable_image_to_image()->mutable_image() = Values({1, 1, 2, 3}, kNan);
                     },
                     "image_to_image.image.data",
                     {"nan"}},
                    {"no strength",
                     [](S* m) { m->mutable_image_to_image()->clear_strength(); },
                     "image_to_image.strength",
                     {"0 is not above 0"}},
                    {"strength above 1",
                     [](S* m) { m->mutable_image_to_image()->set_strength(1.5f); },
                     "image_to_image.strength",
                     {"1.5", "at most 1"}},
                    {"strength NaN",
                     [](S* m) { m->mutable_image_to_image()->set_strength(kNan); },
                     "image_to_image.strength",
                     {"nan"}},
                    {"less than a step",
                     [](S* m) { m->mutable_image_to_image()->set_strength(0.01f); },
                     "image_to_image.strength",
                     {"0.01", "20 steps", "0.05"}},
                    {"an empty tensor",
                     [](S* m) { m->mutable_image_to_image()->mutable_image()->Clear(); },
                     "image_to_image.image.dtype",
                     {"0", "FLOAT32"}},
                });
}

TEST_F(ImageTest, BadMasksAreToldFieldValueAndMend) {
  ExpectRefused(Inpainting(),
                std::vector<Bad<S>>{
                    {"no image",
                     [](S* m) { m->mutable_inpainting()->clear_image(); },
                     "inpainting.image",
                     {"missing"}},
                    {"image out of range",
                     [](S* m) {
                       *m->mutable_inpainting()->mutable_image() = Values({1, 1, 2, 3}, -1.75f);
                     },
                     "inpainting.image.data",
                     {"-1.75", "-1.5..1.5"}},
                    {"no mask",
                     [](S* m) { m->mutable_inpainting()->clear_mask(); },
                     "inpainting.mask",
                     {"missing", "1 where the image is kept"}},
                    {"mask of another shape",
                     [](S* m) {
                       *m->mutable_inpainting()->mutable_mask() = Values({1, 1, 2, 2});
                     },
                     "inpainting.mask.shape",
                     {"[1, 1, 2, 2] is not [1 or 2, 1, 2, 3]"}},
                    {"mask of three channels",
                     [](S* m) {
                       *m->mutable_inpainting()->mutable_image() = Values({1, 2, 1, 2});
                       *m->mutable_inpainting()->mutable_mask() = Values({1, 3, 1, 2});
                     },
                     "inpainting.mask.shape",
                     {"[1, 3, 1, 2] is not [1 or 2, 1 or 2, 1, 2]"},
                     TwoChannels()},
                    {"mask above 1",
                     [](S* m) {
                       *m->mutable_inpainting()->mutable_mask() = Values({1, 1, 2, 3}, 1.5f);
                     },
                     "inpainting.mask.data",
                     {"1.5", "0..1"}},
                    {"mask below 0",
                     [](S* m) {
                       *m->mutable_inpainting()->mutable_mask() = Values({1, 1, 2, 3}, -0.5f);
                     },
                     "inpainting.mask.data",
                     {"-0.5", "0..1"}},
                    {"samples without a length",
                     [](S* m) { m->mutable_inpainting()->set_jump_samples(3); },
                     "inpainting.jump_length",
                     {"0 is not in 1..19"}},
                    {"a sampler that remembers",
                     [](S* m) {
                       m->mutable_sampler()->set_kind(v1::Sampler::KIND_DPMPP_2M);
                       m->mutable_inpainting()->set_jump_length(2);
                       m->mutable_inpainting()->set_jump_samples(2);
                     },
                     "inpainting.jump_samples",
                     {"dpmpp_2m", "ddim"}},
                    {"2^32-1 times",
                     [](S* m) {
                       m->mutable_inpainting()->set_jump_length(1);
                       m->mutable_inpainting()->set_jump_samples(kMaxUint32);
                     },
                     "inpainting.jump_samples",
                     {"4294967295", "at most"}},
                    {"NaN in the mask",
                     [](S* m) {
                       *m->mutable_inpainting()->mutable_mask() = Values({1, 1, 2, 3}, kNan);
                     },
                     "inpainting.mask.data",
                     {"nan"}},
                });
}

}  // namespace
}  // namespace denoise
