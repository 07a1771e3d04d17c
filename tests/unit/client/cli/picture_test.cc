#include "client/cli/pictures/picture.h"

#include <limits>

#include "client/cli/console.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(PictureTest, TheValueRangeBecomesEightBits) {
  const SampleFormat format{.channels = 1, .height = 2, .width = 4};
  const std::vector<float> values = {-1, 1, 0, -2, 5, kNan, kInf, -kInf};
  EXPECT_THAT(ToPicture(values, format).pixels, ElementsAre(0, 255, 128, 0, 255, 0, 255, 0));
  const SampleFormat zero_to_one{
      .channels = 1, .height = 1, .width = 3, .value_min = 0, .value_max = 1};
  const std::vector<float> others = {0, 0.5f, 1};
  EXPECT_THAT(ToPicture(others, zero_to_one).pixels, ElementsAre(0, 128, 255));
}

TEST(PictureTest, PlanesBecomePixels) {
  const SampleFormat format{
      .channels = 3, .height = 1, .width = 2, .value_min = 0, .value_max = 255};
  const std::vector<float> values = {1, 2, 10, 20, 100, 200};
  const Picture picture = ToPicture(values, format);
  EXPECT_THAT(picture.pixels, ElementsAre(1, 10, 100, 2, 20, 200));
  EXPECT_EQ(ToValues(picture, format), values);
}

TEST(PictureTest, AGridWithGapsAndScale) {
  std::vector<Picture> pictures;
  for (const uint8_t shade : {10, 20, 30}) pictures.push_back({1, 1, 1, {shade}});
  const Picture grid = Grid(pictures, 2, 2, 1);
  EXPECT_EQ(grid.width, 5);
  EXPECT_EQ(grid.height, 5);
  const uint8_t g = 64;                                    // the gap, and the place that is left
  EXPECT_THAT(grid.pixels, ElementsAre(10, 10, g, 20, 20,  //
                                       10, 10, g, 20, 20,  //
                                       g, g, g, g, g,      //
                                       30, 30, g, g, g,    //
                                       30, 30, g, g, g));
}

TEST(PictureTest, AGridIsNoWiderThanItsPictures) {
  const std::vector<Picture> pictures(2, Picture{1, 1, 1, {7}});
  EXPECT_EQ(Grid(pictures, 9, 1, 0).width, 2);
  EXPECT_EQ(SquareColumns(1), 1);
  EXPECT_EQ(SquareColumns(16), 4);
  EXPECT_EQ(SquareColumns(17), 5);
}

class PngTest : public ::testing::TestWithParam<int> {};

TEST_P(PngTest, GoesThereAndBack) {
  const int channels = GetParam();
  Picture picture{7, 5, channels, {}};
  for (int i = 0; i < 7 * 5 * channels; ++i) picture.pixels.push_back((i * 37) % 256);
  const auto decoded = DecodePng(EncodePng(picture), channels);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->width, 7);
  EXPECT_EQ(decoded->height, 5);
  EXPECT_EQ(decoded->pixels, picture.pixels);
}

INSTANTIATE_TEST_SUITE_P(GreyAndColour, PngTest, ::testing::Values(1, 3));

TEST(PngFileTest, GreyCanBeReadAsColour) {
  const auto decoded = DecodePng(EncodePng({2, 1, 1, {5, 250}}), 3);
  ASSERT_TRUE(decoded.ok());
  EXPECT_THAT(decoded->pixels, ElementsAre(5, 5, 5, 250, 250, 250));
}

TEST(PngFileTest, WhatIsNoPngIsRefused) {
  const std::string png = EncodePng({64, 64, 1, std::vector<uint8_t>(64 * 64, 9)});
  for (const std::string& bytes : {std::string(), std::string("hello"), png.substr(0, 20),
                                   png.substr(0, png.size() / 2), std::string(5000, '\xff')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(DecodePng(bytes, 1).status())) << bytes.size();
  }
}

TEST(PreviewTest, TwoPixelsInEachCharacter) {
  const std::string text = HalfBlocks({1, 3, 1, {1, 2, 3}});
  EXPECT_EQ(text,
            "\x1b[38;2;1;1;1m\x1b[48;2;2;2;2m▀\x1b[0m\n"
            "\x1b[38;2;3;3;3m▀\x1b[0m\n");
  EXPECT_EQ(HalfBlocks({1, 1, 3, {1, 2, 3}}), "\x1b[38;2;1;2;3m▀\x1b[0m\n");
}

}  // namespace
}  // namespace denoise::cli
