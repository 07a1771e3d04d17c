#include "server/engine/batch_planner.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;

const std::vector<std::vector<int64_t>> kSizes = {{1, 2, 4, 6}, {1, 3}};

TEST(PaddedRows, IsTheSmallestThatHolds) {
  EXPECT_EQ(PaddedRows(0, kSizes[0]), 0);
  EXPECT_EQ(PaddedRows(1, kSizes[0]), 1);
  EXPECT_EQ(PaddedRows(3, kSizes[0]), 4);
  EXPECT_EQ(PaddedRows(6, kSizes[0]), 6);
  EXPECT_EQ(PaddedRows(7, kSizes[0]), 7);
}

TEST(BatchPlanner, NothingToRun) {
  BatchPlanner planner(Batching::kStep);
  EXPECT_EQ(planner.Plan({}, kSizes).model, -1);
}

TEST(BatchPlanner, FillsInOrderUpToTheLargestSize) {
  BatchPlanner planner(Batching::kStep);
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < 10; ++i) candidates.push_back({i, 0, 1, 4});
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(batch.rows, 6);
  EXPECT_EQ(batch.padded_rows, 6);
}

TEST(BatchPlanner, GuidedRowsGoTogetherAndOthersFillTheGap) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<Candidate> candidates = {
      {0, 0, 2, 4}, {1, 0, 1, 4}, {2, 0, 2, 4}, {3, 0, 2, 4}, {4, 0, 1, 4}};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0, 1, 2, 4));
  EXPECT_EQ(batch.rows, 6);
}

TEST(BatchPlanner, PadsToAnAllowedSize) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<Candidate> candidates = {{0, 0, 2, 4}, {1, 0, 1, 4}};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_EQ(batch.rows, 3);
  EXPECT_EQ(batch.padded_rows, 4);
}

TEST(BatchPlanner, WhatFitsNoSizeRunsAlone) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<std::vector<int64_t>> one = {{1}};
  const Batch& batch = planner.Plan(std::vector<Candidate>{{0, 0, 2, 4}, {1, 0, 1, 4}}, one);
  EXPECT_THAT(batch.chains, ElementsAre(0));
  EXPECT_EQ(batch.padded_rows, 2);
}

TEST(BatchPlanner, ModelsTakeTurnsAndNeverMix) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<Candidate> candidates = {{0, 1, 1, 4}, {1, 0, 1, 4}, {2, 1, 1, 4}};
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(1));
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(0, 2));
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(1));
}

TEST(BatchPlanner, WorkWithoutTheDenoiserRidesAlongInSlices) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<Candidate> candidates = {
      {0, 0, 0, 200'000}, {1, 0, 1, 4}, {2, 0, 0, 200'000}, {3, 0, 0, 200'000}};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0, 1, 2));
  EXPECT_EQ(batch.rows, 1);
  EXPECT_EQ(batch.padded_rows, 1);
}

TEST(BatchPlanner, WithoutDenoiserRowsNothingIsPadded) {
  BatchPlanner planner(Batching::kStep);
  const Batch& batch = planner.Plan(std::vector<Candidate>{{0, 0, 0, 4}}, kSizes);
  EXPECT_EQ(batch.padded_rows, 0);
  EXPECT_THAT(batch.chains, ElementsAre(0));
}

TEST(BatchPlanner, NoBatchingTakesOneChain) {
  BatchPlanner planner(Batching::kNone);
  const std::vector<Candidate> candidates = {{0, 0, 2, 4}, {1, 0, 1, 4}};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0));
  EXPECT_EQ(batch.padded_rows, 2);
}

}  // namespace
}  // namespace denoise
