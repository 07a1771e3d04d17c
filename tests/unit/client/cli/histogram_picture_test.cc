#include "client/cli/load/histogram_picture.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace denoise::cli {
namespace {

// Pixels darker than the grid and right of the labels, in the rows given.
int DarkColumns(const Picture& picture, int top, int bottom) {
  int columns = 0;
  for (int x = 110; x < picture.width; ++x) {
    bool dark = false;
    for (int y = top; y < bottom; ++y) dark |= picture.pixels[y * picture.width + x] < 200;
    columns += dark ? 1 : 0;
  }
  return columns;
}

TEST(HistogramPictureTest, APanelForEach) {
  LatencyHistogram fast;
  LatencyHistogram wide;
  for (int i = 0; i < 1000; ++i) {
    fast.Record(absl::Milliseconds(10));
    wide.Record(absl::Milliseconds(10 + i));
  }
  const Picture one = DrawHistograms({{"all", &wide}});
  const Picture two = DrawHistograms({{"10 steps", &fast}, {"50 steps", &wide}});
  EXPECT_EQ(two.width, one.width);
  EXPECT_GT(two.height, one.height);
  const int panel = two.height - one.height;
  EXPECT_EQ(two.pixels.size(), static_cast<size_t>(two.width) * two.height);
  EXPECT_EQ(DarkColumns(two, 0, panel - 1), 4) << "one bar";
  EXPECT_GT(DarkColumns(two, panel, 2 * panel - 1), 400) << "from 10 ms to 1 s";
  EXPECT_NE(std::count(two.pixels.begin(), two.pixels.end(), 32), 0) << "labels";
}

TEST(HistogramPictureTest, TheRareIsSeenBesideTheFrequent) {
  LatencyHistogram latencies;
  for (int i = 0; i < 100000; ++i) latencies.Record(absl::Milliseconds(10));
  latencies.Record(absl::Seconds(7));
  const Picture picture = DrawHistograms({{"all", &latencies}});
  EXPECT_EQ(DarkColumns(picture, 0, 71), 8) << "two bars";
}

TEST(HistogramPictureTest, NothingToShow) {
  const LatencyHistogram none;
  const Picture picture = DrawHistograms({{"all", &none}});
  EXPECT_EQ(DarkColumns(picture, 0, 71), 0);
  EXPECT_TRUE(DecodePng(EncodePng(picture), 1).ok());
}

}  // namespace
}  // namespace denoise::cli
