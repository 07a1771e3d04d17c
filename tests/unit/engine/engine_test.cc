#include "server/engine/engine.h"

#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_fixture.h"

namespace denoise {
namespace {

using std::chrono::seconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Le;

TEST_F(EngineTest, RunsChainsToTheirEnd) {
  Start();
  Submitted submitted = Make(5, 3);
  Push(submitted);
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

TEST_F(EngineTest, InferencesShareBatchesWithChains) {
  Gate gate;
  std::vector<size_t> sizes;
  Start([&](absl::Span<const RowTask> tasks) {
    sizes.push_back(tasks.size());
    return gate.Pass(tasks);
  });
  Submitted chain = Make(3);
  Push(chain);
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

TEST_F(EngineTest, ProgressAloneCarriesNoData) {
  Start();
  Submitted submitted = Make(4);
  submitted.request->states = {1, {}, {Content::kProgress}};
  Push(submitted);
  auto [states, end] = submitted.reader->All();
  ASSERT_EQ(states.size(), 4u);
  for (const StateEvent& state : states) EXPECT_TRUE(state.values.empty());
}

TEST_F(EngineTest, ChainsJoinAndLeaveAtEveryTick) {
  Gate gate;
  std::vector<size_t> batches;
  Start([&](absl::Span<const RowTask> tasks) {
    batches.push_back(tasks.size());
    return gate.Pass(tasks);
  });
  Submitted longer = Make(4);
  Push(longer);
  gate.WaitForTick();  // the longer one's first row is running
  Submitted shorter = Make(2, 2, 50);
  Push(shorter);
  gate.Open();
  ExpectResult(shorter);
  ExpectResult(longer);
  Settle();
  EXPECT_THAT(batches, ElementsAre(1, 3, 3, 1));
}

// One row a tick, each of which the test lets go.
class OrderTest : public EngineTest {
 protected:
  void StartOneByOne(Policy policy) {
    Start([this](absl::Span<const RowTask> tasks) { return gate_.Pass(tasks); }, Batching::kNone,
          /*engines=*/1, /*max_active=*/64, policy);
  }
  // Lets a row go, and waits for the next.
  void Tick() {
    gate_.LetGo();
    gate_.WaitForTick();
  }
  Gate gate_;
};

TEST_F(OrderTest, AmongActiveChainsTheMoreUrgentGoesFirst) {
  StartOneByOne(Policy());
  Submitted usual = Make(3);
  Push(usual);
  gate_.WaitForTick();
  Submitted urgent = Make(2);
  urgent.request->priority = 1;
  Push(urgent);
  Tick();  // the usual one has had a row
  Tick();
  Tick();  // the urgent one has ended
  EXPECT_TRUE(urgent.stream().ended());
  EXPECT_FALSE(usual.stream().ended());
  gate_.Open();
  ExpectResult(usual);
  ExpectResult(urgent);
}

TEST_F(OrderTest, WhatIsOlderThanMaxWaitGoesBeforeTheUrgent) {
  StartOneByOne(Policy({.max_wait = seconds(10)}));
  Submitted usual = Make(3);
  Push(usual);
  gate_.WaitForTick();
  clock_.Advance(seconds(10));
  Submitted urgent = Make(2);
  urgent.request->priority = 1;
  Push(urgent);
  for (int i = 0; i < 3; ++i) Tick();
  EXPECT_TRUE(usual.stream().ended());
  EXPECT_FALSE(urgent.stream().ended());
  gate_.Open();
  ExpectResult(urgent);
}

TEST_F(OrderTest, ShortestRemainingGoesFirst) {
  StartOneByOne(Policy({.order = Order::kSrpf}));
  Submitted longer = Make(5);
  Push(longer);
  gate_.WaitForTick();
  Submitted shorter = Make(2);
  Push(shorter);
  for (int i = 0; i < 3; ++i) Tick();
  EXPECT_TRUE(shorter.stream().ended());
  EXPECT_FALSE(longer.stream().ended());
  gate_.Open();
  ExpectResult(longer);
}

TEST_F(OrderTest, AFairShareIsCountedByChains) {
  StartOneByOne(Policy({.order = Order::kFair}));
  Submitted greedy = Make(2, 8);
  greedy.request->tenant = "greedy";
  Push(greedy);
  gate_.WaitForTick();
  Submitted modest = Make(2);
  modest.request->tenant = "modest";
  Push(modest);
  // One chain of the greedy request goes before it, and then its own two rows.
  for (int i = 0; i < 4; ++i) Tick();
  EXPECT_TRUE(modest.stream().ended());
  EXPECT_FALSE(greedy.stream().ended());
  gate_.Open();
  ExpectResult(greedy);
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
  Submitted longer = Make(3);
  Push(longer);
  gate.WaitForTick();
  Submitted shorter = Make(2, 2, 50);
  Push(shorter);
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
  Submitted submitted = Make(3, 2);
  Push(submitted);
  ExpectResult(submitted);
  Settle();
  EXPECT_EQ(batches.size(), 6u);
  EXPECT_THAT(batches, Each(1));
}

TEST_F(EngineTest, CancelFreesTheChainsWithinOneTickAndHarmsNobody) {
  Gate gate;
  std::vector<size_t> batches;
  Start([&](absl::Span<const RowTask> tasks) {
    batches.push_back(tasks.size());
    return gate.Pass(tasks);
  });
  Submitted victim = Make(1000, 3);
  Push(victim);
  Submitted other = Make(4, 1, 9);
  gate.WaitForTick();
  Push(other);
  gate.LetGo();
  gate.WaitForTick();
  victim.stream().Cancel(absl::CancelledError("by the caller"));
  gate.Open();
  ExpectResult(other);
  auto [states, end] = victim.reader->All();
  EXPECT_TRUE(absl::IsCancelled(std::get<absl::Status>(end)));
  Settle();
  EXPECT_EQ(live_slots_, 0);
  EXPECT_THAT(batches, ElementsAre(3, 4, 1, 1, 1));
}

TEST_F(EngineTest, DeadlineWhileRunning) {
  Gate gate;
  Start([&](absl::Span<const RowTask> tasks) { return gate.Pass(tasks); });
  Submitted submitted = Make(1000);
  submitted.request->deadline = clock_.Now() + seconds(5);
  Push(submitted);
  gate.WaitForTick();
  clock_.Advance(seconds(6));
  gate.LetGo();
  auto [states, end] = submitted.reader->All();
  EXPECT_TRUE(absl::IsDeadlineExceeded(std::get<absl::Status>(end)));
  Settle();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineTest, DeadlineInTheQueueRunsNoRow) {
  std::atomic<int> calls{0};
  Start([&](absl::Span<const RowTask>) {
    ++calls;
    return absl::OkStatus();
  });
  Submitted submitted = Make(10);
  submitted.request->deadline = clock_.Now() - seconds(1);
  Push(submitted);
  auto [states, end] = submitted.reader->All();
  EXPECT_TRUE(absl::IsDeadlineExceeded(std::get<absl::Status>(end)));
  EXPECT_EQ(calls, 0);
}

TEST_F(EngineTest, NonFiniteFailsItsRequestAlone) {
  Start();
  Submitted bad = Make(5, 2);
  bad.request->start.assign(8, 1.f);
  bad.request->start[5] = std::numeric_limits<float>::infinity();
  Submitted good = Make(5, 2, 70);
  Push(bad);
  Push(good);
  ExpectResult(good);
  auto [states, end] = bad.reader->All();
  const auto& status = std::get<absl::Status>(end);
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("sample_index 1"));
  EXPECT_THAT(metrics_.Text(), HasSubstr("denoise_chains_failed_total{reason=\"not_finite\"} 1"));
  Settle();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineTest, AFailingBatchIsRunAgainSoThatOnlyTheGuiltyFails) {
  const Row* poison = nullptr;
  Start([&](absl::Span<const RowTask> tasks) {
    for (const RowTask& task : tasks) {
      if (task.row == poison) return absl::InternalError("boom");
    }
    return absl::OkStatus();
  });
  Submitted bad = Make(5);
  poison = &bad.request->table->rows[2];
  Submitted good = Make(5, 3, 70);
  Push(good);
  Push(bad);
  ExpectResult(good);
  auto [states, end] = bad.reader->All();
  EXPECT_THAT(std::get<absl::Status>(end).ToString(),
              ::testing::AllOf(HasSubstr("INTERNAL"), HasSubstr("sample_index 0"),
                               HasSubstr("step 3"), HasSubstr("boom")));
}

TEST_F(EngineTest, OutOfMemoryGoesToSmallerBatches) {
  std::vector<size_t> batches;
  Start([&](absl::Span<const RowTask> tasks) {
    batches.push_back(tasks.size());
    return tasks.size() > 2 ? absl::ResourceExhaustedError("out of memory") : absl::OkStatus();
  });
  Submitted submitted = Make(1, 8);
  Push(submitted);
  ExpectResult(submitted);
  Settle();
  EXPECT_THAT(batches, ElementsAre(8, 4, 2, 2, 4, 2, 2));
}

TEST_F(EngineTest, StopEndsWhatIsActive) {
  Gate gate;
  Start([&](absl::Span<const RowTask> tasks) { return gate.Pass(tasks); });
  Submitted submitted = Make(100'000);
  Push(submitted);
  gate.WaitForTick();
  std::thread stopper([&] { engines_[0]->Stop(); });
  gate.Open();
  auto [states, end] = submitted.reader->All();
  EXPECT_TRUE(absl::IsUnavailable(std::get<absl::Status>(end)));
  stopper.join();
  EXPECT_EQ(live_slots_, 0);
  EXPECT_TRUE(absl::IsUnavailable(engines_[0]->Run([] { return absl::OkStatus(); })));
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
  Submitted other = Make(400, 1, 9);
  Push(other);
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
  Submitted before = Make(3);
  Push(before);
  before.reader->All();
  ASSERT_TRUE(engines_[0]->RemoveModel(0).ok());
  EXPECT_TRUE(absl::IsNotFound(engines_[0]->RemoveModel(0)));
  Submitted between = Make(3);
  Push(between);
  auto [states, end] = between.reader->All();
  EXPECT_TRUE(std::holds_alternative<absl::Status>(end)) << "no model is loaded";
  ASSERT_TRUE(engines_[0]
                  ->AddModel([this]() -> absl::StatusOr<std::unique_ptr<Executor>> {
                    return std::make_unique<FakeExecutor>(nullptr, &live_slots_);
                  })
                  .ok());
  Submitted after = Make(3);
  Push(after);
  auto [more, result] = after.reader->All();
  EXPECT_TRUE(std::holds_alternative<ResultEvent>(result));
}

TEST_F(EngineTest, AModelDoesNotGoUnderItsChains) {
  Gate gate;
  Start([&](absl::Span<const RowTask> tasks) { return gate.Pass(tasks); });
  Submitted submitted = Make(3);
  Push(submitted);
  gate.WaitForTick();  // the engine's thread is held in the first row; the errand comes after it
  absl::Status removed;
  std::thread remover([&] { removed = engines_[0]->RemoveModel(0); });
  gate.Open();
  auto [states, end] = submitted.reader->All();
  remover.join();
  EXPECT_TRUE(std::holds_alternative<ResultEvent>(end));
  // It came before the chain's end, or after.
  EXPECT_TRUE(removed.ok() || absl::IsFailedPrecondition(removed)) << removed;
}

TEST_F(EngineTest, NeverMoreActiveThanAllowed) {
  std::vector<size_t> batches;
  Start(
      [&](absl::Span<const RowTask> tasks) {
        batches.push_back(tasks.size());
        return absl::OkStatus();
      },
      Batching::kStep, 1, 3);
  Submitted submitted = Make(2, 10);
  Push(submitted);
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
  Submitted running = Make(1);
  Push(running);
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

// Many requests of all lengths over two engines, one in four an Evaluate, some cancelled at some
// time: every one ends exactly once, the others' samples and bounds are those they would have had
// alone, and nothing is left behind.
TEST_F(EngineTest, StormOfCancels) {
  Start(nullptr, Batching::kStep, 2);
  constexpr int kThreads = 4;
  constexpr int kRequests = 100;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread] {
      std::mt19937 random(thread);
      for (int i = 0; i < kRequests; ++i) {
        const bool evaluates = random() % 4 == 0;
        const uint32_t steps = 1 + random() % 40;
        const uint32_t samples = 1 + random() % 5;
        const uint64_t seed = random() % 1000;
        Submitted submitted = evaluates ? MakeEvaluate(steps, samples, seed, random() % 1000)
                                        : Make(steps, samples, seed);
        if (!evaluates) {
          submitted.request->states = {1 + static_cast<uint32_t>(random() % 3), {}, {Content::kXt}};
        }
        ASSERT_TRUE(queue_->TryPush(submitted.request).ok());
        const bool cancel = random() % 2 == 0;
        if (cancel) {
          for (unsigned reads = random() % 3; reads > 0; --reads) {
            const StreamEvent event = submitted.reader->Next();
            if (event.index() > 1) break;  // neither a state nor a term
          }
          submitted.stream().Cancel(absl::CancelledError("storm"));
          queue_->Remove(*submitted.request);
          while (submitted.stream().Take().has_value()) {
          }
        } else if (evaluates) {
          ExpectBound(submitted);
        } else {
          ExpectResult(submitted);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Settle();
  Settle();
  EXPECT_EQ(live_slots_, 0);
  EXPECT_EQ(queue_->requests_waiting(), 0u);
  EXPECT_EQ(queue_->rows_waiting(), 0u);
  for (auto& engine : engines_) EXPECT_EQ(engine->chains_active(), 0u);
}

}  // namespace
}  // namespace denoise
