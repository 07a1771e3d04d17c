#include "server/engine/engine.h"

#include <random>
#include <semaphore>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/fake_clock.h"
#include "tests/unit/engine/fake_executor.h"
#include "tests/unit/engine/reader.h"

namespace denoise {
namespace {

using std::chrono::seconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Le;

// Lets a test hold the engine's thread before each batch and let single ticks through.
class Gate {
 public:
  absl::Status Pass(absl::Span<const RowTask>) {
    arrived_.release();
    go_.acquire();
    return absl::OkStatus();
  }
  void WaitForTick() { arrived_.acquire(); }
  void LetGo() { go_.release(); }
  // From now on nothing is held.
  void Open() { go_.release(1'000'000); }

 private:
  std::counting_semaphore<> arrived_{0};
  std::counting_semaphore<> go_{0};
};

class EngineTest : public ::testing::Test {
 protected:
  struct Submitted {
    std::shared_ptr<Request> request;
    std::unique_ptr<Reader> reader;
    EventStream& stream() { return *request->stream; }
  };

  void Start(FakeExecutor::Hook hook = nullptr, Batching batching = Batching::kStep,
             int engines = 1, size_t max_active = 64) {
    queue_ = std::make_unique<WaitingQueue>(
        WaitingQueue::Options{.max_waiting = 10'000, .engines = engines});
    for (int i = 0; i < engines; ++i) {
      Engine::Options options;
      options.index = i;
      options.device = absl::StrCat("cpu:", i);
      options.batching = batching;
      options.max_active = max_active;
      engines_.push_back(std::make_unique<Engine>(options, queue_.get(), &metrics_, &clock_));
      ASSERT_TRUE(engines_.back()
                      ->AddModel([=, this]() -> absl::StatusOr<std::unique_ptr<Executor>> {
                        return std::make_unique<FakeExecutor>(hook, &live_slots_);
                      })
                      .ok());
    }
  }

  Submitted Make(uint32_t steps, uint32_t samples = 1, uint64_t seed = 1) {
    auto request = std::make_shared<Request>();
    request->model = model_;
    request->table = FakeTable(steps);
    request->num_samples = samples;
    request->seed = seed;
    request->labels.assign(samples, 3);
    request->arrival = clock_.Now();
    EventStream::Options options;
    options.num_samples = samples;
    options.values_per_sample = 4;
    options.arrival = request->arrival;
    return WithStream(std::move(request), options);
  }

  Submitted WithStream(std::shared_ptr<Request> request, EventStream::Options options) {
    auto stream = std::make_shared<EventStream>(options, &clock_);
    auto wake = [this] {
      for (auto& engine : engines_) engine->Wake();
    };
    stream->OnCancel(wake);
    stream->OnRoom(wake);
    request->stream = stream;
    return {std::move(request), std::make_unique<Reader>(stream.get())};
  }

  void Push(Submitted& submitted) { ASSERT_TRUE(queue_->TryPush(submitted.request).ok()); }

  std::vector<float> ExpectedSamples(const Request& request) {
    std::vector<float> all;
    for (uint32_t i = 0; i < request.num_samples; ++i) {
      const auto x = FakeExecutor::Expected(*request.table, request.seed + i, 3);
      all.insert(all.end(), x.begin(), x.end());
    }
    return all;
  }

  void ExpectResult(Submitted& submitted) {
    auto [states, end] = submitted.reader->All();
    ASSERT_TRUE(std::holds_alternative<ResultEvent>(end)) << std::get<absl::Status>(end).ToString();
    EXPECT_EQ(std::get<ResultEvent>(end).samples, ExpectedSamples(*submitted.request));
  }

  // Waits until the engine has done everything that was asked before.
  void Settle() {
    for (auto& engine : engines_) ASSERT_TRUE(engine->Run([] { return absl::OkStatus(); }).ok());
  }

  FakeClock clock_;
  Metrics metrics_;
  std::atomic<int> live_slots_{0};
  std::shared_ptr<const ModelInfo> model_ = std::make_shared<ModelInfo>(FakeModel());
  std::unique_ptr<WaitingQueue> queue_;
  std::vector<std::unique_ptr<Engine>> engines_;
};

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
  submitted.request->model = other;
  Push(submitted);
  auto [states, end] = submitted.reader->All();
  EXPECT_THAT(std::string(std::get<absl::Status>(end).message()), HasSubstr("absent"));
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

// Many requests of all lengths over two engines, some cancelled at some time: every one ends
// exactly once, the others' samples are those they would have had alone, and nothing is left
// behind.
TEST_F(EngineTest, StormOfCancels) {
  Start(nullptr, Batching::kStep, 2);
  constexpr int kThreads = 4;
  constexpr int kRequests = 100;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread] {
      std::mt19937 random(thread);
      for (int i = 0; i < kRequests; ++i) {
        Submitted submitted = Make(1 + random() % 40, 1 + random() % 5, random() % 1000);
        submitted.request->states = {1 + static_cast<uint32_t>(random() % 3), {}, {Content::kXt}};
        ASSERT_TRUE(queue_->TryPush(submitted.request).ok());
        const bool cancel = random() % 2 == 0;
        if (cancel) {
          for (unsigned reads = random() % 3; reads > 0; --reads) {
            if (!std::holds_alternative<StateEvent>(submitted.reader->Next())) break;
          }
          submitted.stream().Cancel(absl::CancelledError("storm"));
          queue_->Remove(*submitted.request);
          while (submitted.stream().Take().has_value()) {
          }
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
