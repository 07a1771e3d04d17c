#include "server/media/png.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <limits>
#include <vector>

#include "absl/status/status.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Picture {
  uint32_t width = 0, height = 0, format = 0;
  std::vector<uint8_t> bytes;
};

// Decodes as the file says it is, and fails the test where it is no PNG.
Picture Decode(const std::string& png) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  Picture picture;
  EXPECT_TRUE(png_image_begin_read_from_memory(&image, png.data(), png.size())) << image.message;
  picture.width = image.width;
  picture.height = image.height;
  picture.format = image.format;
  picture.bytes.resize(PNG_IMAGE_SIZE(image));
  EXPECT_TRUE(png_image_finish_read(&image, nullptr, picture.bytes.data(), 0, nullptr))
      << image.message;
  return picture;
}

TEST(EncodePngTest, GreyIsScaledRoundedAndClamped) {
  const float kNan = std::numeric_limits<float>::quiet_NaN();
  const float kInf = std::numeric_limits<float>::infinity();
  // 1 is one 255th of the range up; the next two lie on either side of one half.
  const std::vector<float> values = {
      -1, 1, -1 + 2.0f / 255, -1 + 0.98f / 255, -1 + 1.02f / 255, -1.5, 1.5f, kNan, kInf, -kInf};
  auto png = EncodePng(values, 1, 2, 5, -1, 1);
  ASSERT_TRUE(png.ok()) << png.status();
  const Picture picture = Decode(*png);
  EXPECT_EQ(picture.width, 5u);
  EXPECT_EQ(picture.height, 2u);
  EXPECT_EQ(picture.format, static_cast<uint32_t>(PNG_FORMAT_GRAY));
  EXPECT_THAT(picture.bytes, ElementsAre(0, 255, 1, 0, 1, 0, 255, 0, 255, 0));
}

TEST(EncodePngTest, ChannelsBecomeColours) {
  const std::vector<float> values = {0, 0.2f, /*green*/ 0.4f, 0.6f, /*blue*/ 0.8f, 1};
  auto png = EncodePng(values, 3, 1, 2, 0, 1);
  ASSERT_TRUE(png.ok()) << png.status();
  const Picture picture = Decode(*png);
  EXPECT_EQ(picture.format, static_cast<uint32_t>(PNG_FORMAT_RGB));
  EXPECT_THAT(picture.bytes, ElementsAre(0, 102, 204, 51, 153, 255));
}

TEST(EncodePngTest, LargePictureComesBackWhole) {
  std::vector<float> values(3 * 300 * 200);
  uint32_t state = 1;  // incompressible, so that the file is as large as it gets
  for (float& value : values)
    value = static_cast<float>((state = state * 1664525 + 1013904223) >> 24);
  auto png = EncodePng(values, 3, 300, 200, 0, 255);
  ASSERT_TRUE(png.ok()) << png.status();
  const Picture picture = Decode(*png);
  ASSERT_EQ(picture.bytes.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(picture.bytes[i], values[i % 3 * 60000 + i / 3]) << i;
  }
}

TEST(EncodePngTest, RefusesWhatIsNoPicture) {
  const std::vector<float> values(4);
  const auto message = [&](int64_t c, int64_t h, int64_t w, float lo, float hi) {
    const auto png = EncodePng(values, c, h, w, lo, hi);
    EXPECT_EQ(png.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(png.status().message());
  };
  EXPECT_THAT(message(4, 1, 1, 0, 1), HasSubstr("has 4"));
  EXPECT_THAT(message(1, 2, 3, 0, 1), HasSubstr("[1, 2, 3] has 6 values, not 4"));
  EXPECT_THAT(message(1, 0, 4, 0, 1), HasSubstr("0x4"));
  EXPECT_THAT(message(1, -2, -2, 0, 1), HasSubstr("-2x-2"));
  EXPECT_THAT(message(1, int64_t{1} << 62, 4, 0, 1), HasSubstr("sides from 1"));
  EXPECT_THAT(message(1, 2, 2, 1, 1), HasSubstr("1..1"));
}

}  // namespace
}  // namespace denoise
