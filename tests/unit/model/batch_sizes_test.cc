#include "server/model/batch_sizes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

TEST(CandidateSizes, EverySmallOneThenWiderApart) {
  const auto sizes = CandidateSizes({}, true);
  ASSERT_TRUE(sizes.ok());
  EXPECT_THAT(*sizes, IsSupersetOf({1, 2, 3, 4, 5, 6, 7, 8, 16, 64}));
  EXPECT_EQ(sizes->back(), 64);
}

TEST(CandidateSizes, EndWithTheOperatorsLargest) {
  EXPECT_THAT(*CandidateSizes({.max_rows = 9}, true), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_EQ(CandidateSizes({.max_rows = 100}, true)->back(), 100);
}

TEST(CandidateSizes, AreTheOperatorsIfGiven) {
  EXPECT_THAT(*CandidateSizes({.sizes = {8, 2, 4, 2}}, true), ElementsAre(2, 4, 8));
  EXPECT_THAT(*CandidateSizes({.max_rows = 4, .sizes = {8, 2, 4}}, true), ElementsAre(2, 4));
  EXPECT_THAT(*CandidateSizes({.sizes = {1}}, false), ElementsAre(1));
}

TEST(CandidateSizes, RefusesWhatCannotBeRun) {
  EXPECT_THAT(CandidateSizes({.sizes = {0, 4}}, true).status().message(), HasSubstr("0 is not"));
  EXPECT_THAT(CandidateSizes({.max_rows = 2, .sizes = {4}}, true).status().message(),
              HasSubstr("--max-batch-rows: 2"));
  EXPECT_THAT(CandidateSizes({.sizes = {1}}, true).status().message(), HasSubstr("2 rows"));
}

TEST(KneeOf, IsTheSmallestSizeNearTheBest) {
  // 100, 160, 198, 200, 150 rows a second.
  const std::vector<BatchTime> times = {
      {1, 1 / 100.0}, {2, 2 / 160.0}, {4, 4 / 198.0}, {8, 8 / 200.0}, {16, 16 / 150.0}};
  EXPECT_EQ(KneeOf(times, 1), 3);
  EXPECT_EQ(KneeOf(times, 4), 4);
}

TEST(KneeOf, KeepsRoomForAGuidedChain) {
  EXPECT_EQ(KneeOf({{1, 1.0}, {2, 4.0}}, 2), 2);
  EXPECT_EQ(KneeOf({{1, 1.0}, {2, 4.0}}, 1), 1);
}

TEST(LeastFor, CountsUpToTheFirstSizeOfTwoRows) {
  EXPECT_EQ(LeastFor({{1, 1.0}, {2, 1.0}, {3, 1.0}}, true), 2);
  EXPECT_EQ(LeastFor({{4, 1.0}, {8, 1.0}}, true), 1);
  EXPECT_EQ(LeastFor({{1, 1.0}, {2, 1.0}}, false), 1);
}

TEST(MayBeGuided, WhereSomethingStandsForNoneOrCanBeGiven) {
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
