// Chains from their start to their end: states, streams, models.
#include "server/engine/engine.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_fixture.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(EngineTest, RunsChainsToTheirEnd) {
  Start();
  Submitted submitted = Submit(5, 3);
  auto [states, end] = submitted.reader->All();
  EXPECT_TRUE(states.empty());
  const auto& result = std::get<ResultEvent>(end);
  EXPECT_EQ(result.samples, ExpectedSamples(*submitted.request));
  EXPECT_EQ(result.denoiser_rows, 15u);
  Settle();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineTest, StatesAreThoseAskedForInOrder) {
  Start();
  Submitted submitted = Make(7);
  submitted.request->states = {3, {0, 4}, {Content::kXt, Content::kPredictedX0}};
  Push(submitted);
  auto [states, end] = submitted.reader->All();
  std::vector<std::pair<uint32_t, Content>> got;
  for (const StateEvent& state : states) {
    got.push_back({state.step, state.content});
    EXPECT_EQ(state.values.size(), 4u);
  }
  const auto kXt = Content::kXt;
  const auto kX0 = Content::kPredictedX0;
  EXPECT_THAT(got, ElementsAre(std::pair(0u, kXt), std::pair(3u, kXt), std::pair(3u, kX0),
                               std::pair(4u, kXt), std::pair(4u, kX0), std::pair(6u, kXt),
                               std::pair(6u, kX0), std::pair(7u, kXt), std::pair(7u, kX0)));
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(states[0].values[i], FakeExecutor::Noise(1, i));
  EXPECT_EQ(states[7].values, std::get<ResultEvent>(end).samples);
  EXPECT_EQ(std::get<ResultEvent>(end).samples, ExpectedSamples(*submitted.request));
}

TEST_F(EngineTest, ProgressAloneCarriesNoData) {
  Start();
  Submitted submitted = Make(4);
  submitted.request->states = {1, {}, {Content::kProgress}};
  Push(submitted);
  auto [states, end] = submitted.reader->All();
  ASSERT_EQ(states.size(), 4u);
  for (const StateEvent& state : states) EXPECT_TRUE(state.values.empty());
}

TEST_F(EngineTest, ImageAndNoiseMakeTheStart) {
  Start();
  Submitted submitted = Make(3, 2);
  auto table = std::make_shared<Table>(*submitted.request->table);
  table->initial_scale = 0.5;
  table->image_scale = 0.25;
  submitted.request->table = table;
  submitted.request->image = {1, 2, 3, 4};
  submitted.request->states = {0, {0}, {Content::kXt}};
  Push(submitted);
  auto [states, end] = submitted.reader->All();
  for (const StateEvent& state : states) {
    if (state.step != 0) continue;
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_FLOAT_EQ(state.values[i],
                      0.5f * FakeExecutor::Noise(1 + state.sample_index, i) + 0.25f * (1 + i));
    }
  }
  EXPECT_EQ(states.size(), 4u);
}

TEST_F(EngineTest, AnInferenceIsOneRowOfTheTableForEachSample) {
  std::atomic<size_t> batches{0};
  Start([&](absl::Span<const RowTask>) {
    ++batches;
    return absl::OkStatus();
  });
  Submitted submitted = Make(4, 3);  // rows at t = 3, 2, 1, 0
  submitted.request->only_row = {0, 3, 0};
  submitted.request->start = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  Push(submitted);
  auto [states, end] = submitted.reader->All();
  EXPECT_TRUE(states.empty());
  const auto& result = std::get<ResultEvent>(end);
  ASSERT_EQ(result.samples.size(), 12u);
  for (size_t i = 0; i < 12; ++i) {
    const double t = i / 4 == 1 ? 0 : 3;
    EXPECT_FLOAT_EQ(result.samples[i], FakeExecutor::Denoise(i + 1, t, 3)) << i;
  }
  EXPECT_EQ(result.denoiser_rows, 3u);
  EXPECT_EQ(batches, 1u);
  Settle();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineTest, LosslessStreamHoldsItsChainBackAndLosesNothing) {
  Start();
  Submitted submitted = Make(200);
  submitted.request->states = {1, {}, {Content::kXt}};
  EventStream::Options options;
  options.values_per_sample = 4;
  options.keep_samples = false;
  options.lossless = true;
  options.max_pending_bytes = 1;  // one state at a time
  Submitted lossless = WithStream(submitted.request, options);
  Push(lossless);
  auto [states, end] = lossless.reader->All();
  ASSERT_EQ(states.size(), 200u);
  for (uint32_t i = 0; i < 200; ++i) EXPECT_EQ(states[i].step, i + 1);
  EXPECT_EQ(std::get<ResultEvent>(end).states_dropped, 0u);
}

TEST_F(EngineTest, AnUnreadStreamHoldsNobodyElseBack) {
  Start();
  Submitted unread = Make(300);
  unread.request->states = {1, {}, {Content::kXt}};
  Push(unread);
  Submitted other = Submit(400, 1, 9);
  ExpectResult(other);
  ExpectResult(unread);
}

TEST_F(EngineTest, ModelThatIsNotLoadedIsAnError) {
  Start();
  Submitted submitted = Make(3);
  auto other = std::make_shared<ModelInfo>(FakeModel());
  other->name = "absent";
  other->id = 7;
  submitted.request->model = other;
  Push(submitted);
  auto [states, end] = submitted.reader->All();
  EXPECT_THAT(std::string(std::get<absl::Status>(end).message()), HasSubstr("absent"));
}

TEST_F(EngineTest, ModelsComeAndGo) {
  Start();
  Submitted before = Submit(3);
  before.reader->All();
  ASSERT_TRUE(engines_[0]->RemoveModel(0).ok());
  EXPECT_TRUE(absl::IsNotFound(engines_[0]->RemoveModel(0)));
  Submitted between = Submit(3);
  auto [states, end] = between.reader->All();
  EXPECT_TRUE(std::holds_alternative<absl::Status>(end)) << "no model is loaded";
  ASSERT_TRUE(engines_[0]
                  ->AddModel([this]() -> absl::StatusOr<std::unique_ptr<Executor>> {
                    return std::make_unique<FakeExecutor>(nullptr, &live_slots_);
                  })
                  .ok());
  Submitted after = Submit(3);
  auto [more, result] = after.reader->All();
  EXPECT_TRUE(std::holds_alternative<ResultEvent>(result));
}

TEST_F(EngineTest, AModelDoesNotGoUnderItsChains) {
  Gate gate;
  Start([&](absl::Span<const RowTask> tasks) { return gate.Pass(tasks); });
  Submitted submitted = Submit(3);
  gate.WaitForTick();  // the engine's thread is held in the first row; the task comes after it
  absl::Status removed;
  std::thread remover([&] { removed = engines_[0]->RemoveModel(0); });
  gate.Open();
  auto [states, end] = submitted.reader->All();
  remover.join();
  EXPECT_TRUE(std::holds_alternative<ResultEvent>(end));
  // It came before the chain's end, or after.
  EXPECT_TRUE(removed.ok() || absl::IsFailedPrecondition(removed)) << removed;
}

}  // namespace
}  // namespace denoise
