// Requests that end otherwise than by their result: cancels, deadlines, failures, a stop.
#include <atomic>
#include <chrono>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/unit/engine/engine_fixture.h"

namespace denoise {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(EngineTest, CancelFreesTheChainsWithinOneTickAndHarmsNobody) {
  Gate gate;
  std::vector<size_t> batches;
  Start([&](absl::Span<const RowTask> tasks) {
    batches.push_back(tasks.size());
    return gate.Pass(tasks);
  });
  Submitted victim = Submit(1000, 3);
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
  Submitted submitted = Submit(1, 8);
  ExpectResult(submitted);
  Settle();
  EXPECT_THAT(batches, ElementsAre(8, 4, 2, 2, 4, 2, 2));
}

TEST_F(EngineTest, StopEndsWhatIsActive) {
  Gate gate;
  Start([&](absl::Span<const RowTask> tasks) { return gate.Pass(tasks); });
  Submitted submitted = Submit(100'000);
  gate.WaitForTick();
  std::thread stopper([&] { engines_[0]->Stop(); });
  gate.Open();
  auto [states, end] = submitted.reader->All();
  EXPECT_TRUE(absl::IsUnavailable(std::get<absl::Status>(end)));
  stopper.join();
  EXPECT_EQ(live_slots_, 0);
  EXPECT_TRUE(absl::IsUnavailable(engines_[0]->Run([] { return absl::OkStatus(); })));
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
