// Which rows go into a call together.
#include <memory>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/unit/engine/engine_fixture.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Le;

TEST_F(EngineTest, ChainsJoinAndLeaveAtEveryTick) {
  Gate gate;
  std::vector<size_t> batches;
  Start([&](absl::Span<const RowTask> tasks) {
    batches.push_back(tasks.size());
    return gate.Pass(tasks);
  });
  Submitted longer = Submit(4);
  gate.WaitForTick();  // the longer one's first row is running
  Submitted shorter = Submit(2, 2, 50);
  gate.Open();
  ExpectResult(shorter);
  ExpectResult(longer);
  Settle();
  EXPECT_THAT(batches, ElementsAre(1, 3, 3, 1));
}

TEST_F(EngineTest, InferencesShareBatchesWithChains) {
  Gate gate;
  std::vector<size_t> sizes;
  Start([&](absl::Span<const RowTask> tasks) {
    sizes.push_back(tasks.size());
    return gate.Pass(tasks);
  });
  Submitted chain = Submit(3);
  gate.WaitForTick();
  Submitted inference = Make(1, 2);
  inference.request->only_row = {0, 0};
  Push(inference);
  gate.LetGo();
  gate.WaitForTick();
  gate.Open();
  ExpectResult(chain);
  EXPECT_TRUE(std::holds_alternative<ResultEvent>(inference.reader->All().second));
  EXPECT_THAT(sizes, ElementsAre(1, 3, 1));
}

TEST_F(EngineTest, RequestBatchingAdmitsNoneUntilAllHaveEnded) {
  Gate gate;
  std::vector<size_t> batches;
  Start(
      [&](absl::Span<const RowTask> tasks) {
        batches.push_back(tasks.size());
        return gate.Pass(tasks);
      },
      Batching::kRequest);
  Submitted longer = Submit(3);
  gate.WaitForTick();
  Submitted shorter = Submit(2, 2, 50);
  gate.Open();
  ExpectResult(longer);
  ExpectResult(shorter);
  Settle();
  EXPECT_THAT(batches, ElementsAre(1, 1, 1, 2, 2));
}

TEST_F(EngineTest, NoBatchingRunsOneChainACall) {
  std::vector<size_t> batches;
  Start(
      [&](absl::Span<const RowTask> tasks) {
        batches.push_back(tasks.size());
        return absl::OkStatus();
      },
      Batching::kNone);
  Submitted submitted = Submit(3, 2);
  ExpectResult(submitted);
  Settle();
  EXPECT_EQ(batches.size(), 6u);
  EXPECT_THAT(batches, Each(1));
}

TEST_F(EngineTest, NeverMoreActiveThanAllowed) {
  std::vector<size_t> batches;
  Start(
      [&](absl::Span<const RowTask> tasks) {
        batches.push_back(tasks.size());
        return absl::OkStatus();
      },
      Batching::kStep, 1, 3);
  Submitted submitted = Submit(2, 10);
  ExpectResult(submitted);
  Settle();
  EXPECT_THAT(batches, Each(Le(3)));
}

// Rows of one chain are never in a batch with rows of other shapes, and nobody waits for others'
// end.
TEST_F(EngineTest, ConditionsOfOtherShapesHaveBatchesOfTheirOwn) {
  Gate gate;
  std::vector<std::vector<int64_t>> batches;  // the extent of each task's condition
  Start([&](absl::Span<const RowTask> tasks) {
    std::vector<int64_t>& extents = batches.emplace_back();
    for (const RowTask& task : tasks) {
      extents.push_back(task.conditions ? task.conditions->at(0).shape[0] : 0);
    }
    return gate.Pass(tasks);
  });
  const auto with_extent = [this](int64_t extent, uint32_t steps, uint64_t seed) {
    Submitted submitted = Make(steps, 1, seed);
    if (extent > 0) {
      Condition condition;
      condition.shape = {extent, 2};
      submitted.request->conditions = std::make_shared<Conditions>(1, condition);
    }
    return submitted;
  };
  Submitted first = Make(1);  // runs while the others come
  Push(first);
  gate.WaitForTick();
  std::vector<Submitted> all;
  all.push_back(with_extent(7, 3, 1));
  all.push_back(with_extent(9, 2, 2));
  all.push_back(with_extent(7, 2, 3));
  all.push_back(with_extent(0, 1, 4));
  for (Submitted& submitted : all) Push(submitted);
  gate.Open();
  ExpectResult(first);
  for (Submitted& submitted : all) ExpectResult(submitted);
  Settle();
  // The first one's number is free again for extent 7, so that this is the last one's turn.
  EXPECT_THAT(batches,
              ElementsAre(ElementsAre(0), ElementsAre(9), ElementsAre(0), ElementsAre(7, 7),
                          ElementsAre(9), ElementsAre(7, 7), ElementsAre(7)));
}

TEST_F(EngineTest, GuidanceCountsWhereItActs) {
  Gate gate;
  std::vector<int> batches;  // denoiser rows
  Start([&](absl::Span<const RowTask> tasks) {
    int& rows = batches.emplace_back();
    for (const RowTask& task : tasks) rows += task.denoiser_rows();
    return gate.Pass(tasks);
  });
  Submitted submitted = Make(5, 3);
  auto table = std::make_shared<Table>(*submitted.request->table);
  for (size_t i = 0; i < 5; ++i) table->rows[i].noise_ratio = 5.0 - static_cast<double>(i);
  submitted.request->table = table;
  submitted.request->guided = true;
  submitted.request->guidance_sigma_min = 2;
  submitted.request->guidance_sigma_max = 4;  // rows 1 and 2
  Push(submitted);
  gate.WaitForTick();
  EXPECT_EQ(engines_[0]->rows_left(), 0u);  // counted after the tick
  gate.LetGo();
  gate.WaitForTick();
  EXPECT_EQ(engines_[0]->rows_left(), 18u);
  gate.LetGo();
  gate.WaitForTick();
  EXPECT_EQ(engines_[0]->rows_left(), 12u);
  gate.Open();
  auto [states, end] = submitted.reader->All();
  EXPECT_EQ(std::get<ResultEvent>(end).denoiser_rows, 21u);
  Settle();
  EXPECT_THAT(batches, ElementsAre(3, 6, 6, 3, 3));
  EXPECT_EQ(engines_[0]->rows_left(), 0u);
}

TEST_F(EngineTest, GuidedRequestsWaitWithTheirRows) {
  Gate gate;
  Start([&](absl::Span<const RowTask> tasks) { return gate.Pass(tasks); }, Batching::kRequest);
  Submitted running = Submit(1);
  gate.WaitForTick();
  Submitted guided = Make(4, 2);
  guided.request->guided = true;
  guided.request->guidance_sigma_min = 100;  // above every row
  Submitted always = Make(4, 3);
  always.request->guided = true;
  EXPECT_EQ(queue_->TryPush(guided.request)->rows_before, 0u);
  EXPECT_EQ(queue_->TryPush(always.request)->rows_before, 8u);
  EXPECT_EQ(queue_->rows_waiting(), 32u);
  gate.Open();
  ExpectResult(running);
  EXPECT_EQ(std::get<ResultEvent>(guided.reader->All().second).denoiser_rows, 8u);
  EXPECT_EQ(std::get<ResultEvent>(always.reader->All().second).denoiser_rows, 24u);
}

}  // namespace
}  // namespace denoise
