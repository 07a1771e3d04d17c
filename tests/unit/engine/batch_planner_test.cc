#include "server/engine/batch_planner.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;

const std::vector<std::vector<int64_t>> kSizes = {{1, 2, 4, 6}, {1, 3}};

// A chain of a sample; the key is that of a model without further inputs.
Candidate Sample(size_t chain, int model, int denoiser_rows, int64_t values = 4) {
  Candidate candidate;
  candidate.chain = chain;
  candidate.key = model;
  candidate.model = model;
  candidate.denoiser_rows = denoiser_rows;
  candidate.values = values;
  return candidate;
}

// A chain of model 0 of an Evaluate, at row `next` of `terms`.
Candidate Terms(size_t chain, const int& evaluation, size_t next, size_t terms) {
  Candidate candidate = Sample(chain, 0, 1);
  candidate.evaluation = &evaluation;
  candidate.next_row = next;
  candidate.rows_left = terms - next;
  return candidate;
}

TEST(PaddedRowsTest, IsTheSmallestThatHolds) {
  EXPECT_EQ(PaddedRows(0, kSizes[0]), 0);
  EXPECT_EQ(PaddedRows(1, kSizes[0]), 1);
  EXPECT_EQ(PaddedRows(3, kSizes[0]), 4);
  EXPECT_EQ(PaddedRows(6, kSizes[0]), 6);
  EXPECT_EQ(PaddedRows(7, kSizes[0]), 7);
}

TEST(BatchPlannerTest, NothingToRun) {
  BatchPlanner planner(Batching::kStep);
  EXPECT_EQ(planner.Plan({}, kSizes).key, -1);
}

TEST(BatchPlannerTest, FillsInOrderUpToTheLargestSize) {
  BatchPlanner planner(Batching::kStep);
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < 10; ++i) candidates.push_back(Sample(i, 0, 1));
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(batch.rows, 6);
  EXPECT_EQ(batch.padded_rows, 6);
}

TEST(BatchPlannerTest, GuidedRowsGoTogetherAndOthersFillTheGap) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<Candidate> candidates = {Sample(0, 0, 2), Sample(1, 0, 1), Sample(2, 0, 2),
                                             Sample(3, 0, 2), Sample(4, 0, 1)};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0, 1, 2, 4));
  EXPECT_EQ(batch.rows, 6);
}

TEST(BatchPlannerTest, PadsToAnAllowedSize) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<Candidate> candidates = {Sample(0, 0, 2), Sample(1, 0, 1)};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_EQ(batch.rows, 3);
  EXPECT_EQ(batch.padded_rows, 4);
}

TEST(BatchPlannerTest, WhatFitsNoSizeRunsAlone) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<std::vector<int64_t>> one = {{1}};
  const Batch& batch = planner.Plan(std::vector<Candidate>{Sample(0, 0, 2), Sample(1, 0, 1)}, one);
  EXPECT_THAT(batch.chains, ElementsAre(0));
  EXPECT_EQ(batch.padded_rows, 2);
}

TEST(BatchPlannerTest, ModelsTakeTurnsAndNeverMix) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<Candidate> candidates = {Sample(0, 1, 1), Sample(1, 0, 1), Sample(2, 1, 1)};
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(1));
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(0, 2));
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(1));
}

TEST(BatchPlannerTest, KeysOfOneModelTakeTurnsAndHaveItsBatchSizes) {
  BatchPlanner planner(Batching::kStep);
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < 12; ++i) {
    candidates.push_back(Sample(i, 1, 1));
    candidates.back().key = i % 3 == 0 ? 7 : 2;
  }
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(1, 2, 4));
  EXPECT_EQ(planner.Plan(candidates, kSizes).key, 7);
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(1, 2, 4));
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0, 3, 6));
  EXPECT_EQ(batch.model, 1);
  EXPECT_EQ(batch.padded_rows, 3);
}

TEST(BatchPlannerTest, NoKeyStarvesHoweverManyThereAre) {
  BatchPlanner planner(Batching::kStep);
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < 100; ++i) {
    candidates.push_back(Sample(i, 0, 1));
    candidates.back().key = static_cast<int>(i * i % 17);
  }
  std::set<int> keys;
  std::set<int> had;
  for (const Candidate& candidate : candidates) keys.insert(candidate.key);
  for (size_t i = 0; i < keys.size(); ++i) had.insert(planner.Plan(candidates, kSizes).key);
  EXPECT_EQ(had, keys);
}

// Two keys with chains all the time: `seconds` that each has had, on a clock that goes forward by
// what a batch takes.
std::array<double, 2> SecondsOf(BatchPlanner& planner, const std::vector<Candidate>& candidates,
                                const std::vector<std::vector<double>>& seconds, double until) {
  std::array<double, 2> had = {0, 0};
  while (had[0] + had[1] < until) {
    const Batch& batch = planner.Plan(candidates, kSizes, seconds);
    const auto& sizes = kSizes[batch.model];
    const auto size = std::find(sizes.begin(), sizes.end(), batch.padded_rows) - sizes.begin();
    had[batch.key] += seconds[batch.model][size];
  }
  return had;
}

TEST(BatchPlannerTest, ACheapModelHasAsMuchTimeAsADearOne) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<std::vector<double>> seconds = {{1e-3, 2e-3, 3e-3, 4e-3}, {0.1, 0.25}};
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < 12; ++i) candidates.push_back(Sample(i, i % 2, 1));
  const auto had = SecondsOf(planner, candidates, seconds, 20);
  EXPECT_NEAR(had[0], had[1], 0.25);
  // Never behind by more than a batch, at any time.
  for (int i = 0; i < 50; ++i) {
    const auto more = SecondsOf(planner, candidates, seconds, 0.01);
    EXPECT_LE(std::abs(more[0] - more[1]), 0.25);
  }
}

TEST(BatchPlannerTest, GuidedBatchesCountWithTheSizeThatIsRun) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<std::vector<double>> seconds = {{1, 1, 5, 5}, {1, 1}};
  const std::vector<Candidate> candidates = {Sample(0, 0, 2), Sample(1, 0, 1), Sample(2, 1, 1)};
  const auto had = SecondsOf(planner, candidates, seconds, 60);
  EXPECT_NEAR(had[0], had[1], 5);
}

TEST(BatchPlannerTest, NobodySavesUpWhileAway) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<std::vector<double>> seconds = {{1, 1, 1, 1}, {1, 1}};
  const std::vector<Candidate> one = {Sample(0, 0, 1)};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(planner.Plan(one, kSizes, seconds).key, 0);
  const std::vector<Candidate> both = {Sample(0, 0, 1), Sample(1, 1, 1)};
  const auto had = SecondsOf(planner, both, seconds, 10);
  EXPECT_NEAR(had[0], had[1], 1);
}

TEST(BatchPlannerTest, PriorityGoesBeforeTheShareOfTime) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<std::vector<double>> seconds = {{1, 1, 1, 1}, {9, 9}};
  std::vector<Candidate> candidates = {Sample(0, 1, 1), Sample(1, 0, 1)};
  candidates[0].priority = -1;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(planner.Plan(candidates, kSizes, seconds).key, 1);
  // What it has had is not forgotten, but only a batch of it counts.
  candidates[0].priority = 0;
  for (int i = 0; i < 9; ++i) EXPECT_EQ(planner.Plan(candidates, kSizes, seconds).key, 0);
  EXPECT_EQ(planner.Plan(candidates, kSizes, seconds).key, 1);
}

TEST(BatchPlannerTest, AnEvaluateAloneFillsTheBatch) {
  BatchPlanner planner(Batching::kStep);
  const int evaluation = 0;
  const Batch& batch = planner.Plan(std::vector{Terms(3, evaluation, 10, 100)}, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(3, 3, 3, 3, 3, 3));
  EXPECT_EQ(batch.rows, 6);
}

TEST(BatchPlannerTest, AnEvaluateHasNoMoreRowsThanAreLeft) {
  BatchPlanner planner(Batching::kStep);
  const int evaluation = 0;
  const Batch& batch = planner.Plan(std::vector{Terms(0, evaluation, 96, 100)}, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(batch.padded_rows, 4);
}

TEST(BatchPlannerTest, AnEvaluateTakesHalfWhereOthersCanUseTheRest) {
  BatchPlanner planner(Batching::kStep);
  const int evaluation = 0;
  std::vector<Candidate> candidates = {Terms(0, evaluation, 0, 100)};
  for (size_t i = 1; i <= 4; ++i) candidates.push_back(Sample(i, 0, 1));
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(0, 0, 0, 1, 2, 3));
}

TEST(BatchPlannerTest, AnEvaluateTakesWhatTheOthersLeave) {
  BatchPlanner planner(Batching::kStep);
  const int evaluation = 0;
  const std::vector<Candidate> candidates = {Terms(0, evaluation, 0, 100), Sample(1, 0, 2)};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0, 0, 0, 1, 0));
  EXPECT_EQ(batch.rows, 6);
}

TEST(BatchPlannerTest, EachEvaluateTakesHalf) {
  BatchPlanner planner(Batching::kStep);
  const int first = 0;
  const int second = 0;
  const std::vector<Candidate> candidates = {Terms(0, first, 0, 100), Terms(1, first, 0, 100),
                                             Terms(2, second, 0, 100)};
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(0, 1, 0, 2, 2, 2));
}

TEST(BatchPlannerTest, ChainsOfAnEvaluateGoForwardSideBySide) {
  BatchPlanner planner(Batching::kStep);
  const int evaluation = 0;
  // The second is ahead of the others, and the third has two rows left.
  const std::vector<Candidate> candidates = {
      Terms(0, evaluation, 7, 10), Terms(1, evaluation, 8, 10), Terms(2, evaluation, 7, 9)};
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(0, 2, 0, 1, 2, 0));
}

TEST(BatchPlannerTest, TheRestOfABatchGoesOnWhereTheHalfEnded) {
  BatchPlanner planner(Batching::kStep);
  const int evaluation = 0;
  const std::vector<Candidate> candidates = {Terms(0, evaluation, 0, 3), Terms(1, evaluation, 0, 3),
                                             Sample(2, 0, 1)};
  EXPECT_THAT(planner.Plan(candidates, kSizes).chains, ElementsAre(0, 1, 0, 2, 1, 0));
}

TEST(BatchPlannerTest, NoBatchingTakesOneTerm) {
  BatchPlanner planner(Batching::kNone);
  const int evaluation = 0;
  const std::vector<Candidate> candidates = {Terms(0, evaluation, 4, 9), Terms(1, evaluation, 3, 9),
                                             Sample(2, 0, 1)};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(1));
  EXPECT_EQ(batch.padded_rows, 1);
}

TEST(BatchPlannerTest, WorkWithoutTheDenoiserRidesAlongInSlices) {
  BatchPlanner planner(Batching::kStep);
  const std::vector<Candidate> candidates = {Sample(0, 0, 0, 200'000), Sample(1, 0, 1),
                                             Sample(2, 0, 0, 200'000), Sample(3, 0, 0, 200'000)};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0, 1, 2));
  EXPECT_EQ(batch.rows, 1);
  EXPECT_EQ(batch.padded_rows, 1);
}

TEST(BatchPlannerTest, WithoutDenoiserRowsNothingIsPadded) {
  BatchPlanner planner(Batching::kStep);
  const Batch& batch = planner.Plan(std::vector<Candidate>{Sample(0, 0, 0)}, kSizes);
  EXPECT_EQ(batch.padded_rows, 0);
  EXPECT_THAT(batch.chains, ElementsAre(0));
}

TEST(BatchPlannerTest, NoBatchingTakesOneChain) {
  BatchPlanner planner(Batching::kNone);
  const std::vector<Candidate> candidates = {Sample(0, 0, 2), Sample(1, 0, 1)};
  const Batch& batch = planner.Plan(candidates, kSizes);
  EXPECT_THAT(batch.chains, ElementsAre(0));
  EXPECT_EQ(batch.padded_rows, 2);
}

}  // namespace
}  // namespace denoise
