#include "server/model/examination/batch_sizes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

TEST(CandidateSizesTest, EverySmallOneThenWiderApart) {
  const auto sizes = CandidateSizes({}, true);
  ASSERT_TRUE(sizes.ok());
  EXPECT_THAT(*sizes, IsSupersetOf({1, 2, 3, 4, 5, 6, 7, 8, 16, 64}));
  EXPECT_EQ(sizes->back(), 64);
}

TEST(CandidateSizesTest, EndWithTheOperatorsLargest) {
  EXPECT_THAT(*CandidateSizes({.max_rows = 9}, true), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_EQ(CandidateSizes({.max_rows = 100}, true)->back(), 100);
}

TEST(CandidateSizesTest, AreTheOperatorsIfGiven) {
  EXPECT_THAT(*CandidateSizes({.sizes = {8, 2, 4, 2}}, true), ElementsAre(2, 4, 8));
  EXPECT_THAT(*CandidateSizes({.max_rows = 4, .sizes = {8, 2, 4}}, true), ElementsAre(2, 4));
  EXPECT_THAT(*CandidateSizes({.sizes = {1}}, false), ElementsAre(1));
}

TEST(CandidateSizesTest, RefusesWhatCannotBeRun) {
  EXPECT_THAT(CandidateSizes({.sizes = {0, 4}}, true).status().message(), HasSubstr("0 is not"));
  EXPECT_THAT(CandidateSizes({.max_rows = 2, .sizes = {4}}, true).status().message(),
              HasSubstr("--max-batch-rows: 2"));
  EXPECT_THAT(CandidateSizes({.sizes = {1}}, true).status().message(), HasSubstr("2 rows"));
}

TEST(KneeOfTest, IsTheSmallestSizeNearTheBest) {
  // 10, 16, 19.8, 20, 15 rows a second.
  const std::vector<BatchTime> times = {
      {1, 1 / 10.0}, {2, 2 / 16.0}, {4, 4 / 19.8}, {8, 8 / 20.0}, {16, 16 / 15.0}};
  EXPECT_EQ(KneeOf(times, 1), 3);
  EXPECT_EQ(KneeOf(times, 4), 4);
}

TEST(KneeOfTest, TakesAllSizesUpToTheSamePowerOfTwo) {
  const std::vector<BatchTime> times = {{4, 4 / 150.0}, {5, 5 / 180.0}, {6, 6 / 199.0},
                                        {7, 7 / 198.0}, {8, 8 / 197.0}, {10, 10 / 200.0}};
  EXPECT_EQ(KneeOf(times, 1), 5);
}

TEST(KneeOfTest, IsEightAtLeastWhereThatIsQuick) {
  const std::vector<BatchTime> times = {
      {1, 1 / 1000.0}, {2, 2 / 1000.0}, {4, 4 / 1000.0}, {8, 8 / 990.0}, {16, 16 / 1000.0}};
  EXPECT_EQ(KneeOf(times, 1), 4);
}

TEST(KneeOfTest, IsTheSameInSpiteOfNoiseWhereTheCurveIsFlat) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> noise(1, 0.005);
    std::vector<BatchTime> times;
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16}) {
      // Flat from 6 rows on.
      const double speed = 2000 * std::min<double>(rows, 6) / 6 * noise(random);
      times.push_back({rows, static_cast<double>(rows) / speed});
    }
    ASSERT_EQ(times[KneeOf(times, 1) - 1].rows, 8) << "seed " << seed;
  }
}

TEST(KneeOfTest, KeepsRoomForAGuidedChain) {
  EXPECT_EQ(KneeOf({{1, 1.0}, {2, 4.0}}, 2), 2);
  EXPECT_EQ(KneeOf({{1, 1.0}, {2, 4.0}}, 1), 1);
}

TEST(LeastForTest, CountsUpToTheFirstSizeOfTwoRows) {
  EXPECT_EQ(LeastFor({{1, 1.0}, {2, 1.0}, {3, 1.0}}, true), 2);
  EXPECT_EQ(LeastFor({{4, 1.0}, {8, 1.0}}, true), 1);
  EXPECT_EQ(LeastFor({{1, 1.0}, {2, 1.0}}, false), 1);
}

TEST(MayBeGuidedTest, WhereSomethingStandsForNoneOrCanBeGiven) {
  ModelInfo info;
  info.num_classes = 10;
  EXPECT_FALSE(MayBeGuided(info));
  info.null_class = 10;
  EXPECT_TRUE(MayBeGuided(info));
  ModelInfo conditioned;
  conditioned.inputs.push_back({.name = "text"});
  EXPECT_TRUE(MayBeGuided(conditioned));
}

}  // namespace
}  // namespace denoise
