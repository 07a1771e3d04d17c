// Engines that run dry and get chains from others.
#include <random>
#include <set>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_fixture.h"

namespace denoise {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// Two engines that the test holds before each batch.
class ExchangeTest : public EngineTest {
 protected:
  struct Held {
    Gate gate;
    std::vector<Submitted*> running;  // of the batch that is held, in its order
  };

  void StartHeld() {
    StartEach(
        [this](int engine) -> FakeExecutor::Hook {
          return [this, engine](absl::Span<const RowTask> tasks) {
            Held& held = held_[engine];
            held.running.clear();
            for (const RowTask& task : tasks) {
              for (Submitted& one : all_) {
                if (task.row >= one.request->table->rows.data() &&
                    task.row <= &one.request->table->rows.back()) {
                  held.running.push_back(&one);
                }
              }
            }
            return held.gate.Pass(tasks);
          };
        },
        Batching::kStep, /*engines=*/2);
  }

  // Pushes them all, so that each engine holds a batch of half of them.
  void PushAndHold() {
    Push(all_[0]);
    Push(all_[1]);
    HoldNext();  // with one each
    for (size_t i = 2; i < all_.size(); ++i) Push(all_[i]);
    for (Held& held : held_) held.gate.LetGo();
    HoldNext();
  }
  void HoldNext() {
    for (Held& held : held_) held.gate.WaitForTick();
  }

  // Cancels what engine 1 runs, and lets it go on until it has found that it is dry.
  void RunDry() {
    for (Submitted* one : held_[1].running) one->stream().Cancel(absl::CancelledError("test"));
    held_[1].gate.LetGo();
    for (int i = 0; i < 2; ++i) {  // the second is run after the turn in which the first was
      ASSERT_TRUE(engines_[1]->Run([] { return absl::OkStatus(); }).ok());
    }
  }

  void OpenAll() {
    for (Held& held : held_) held.gate.Open();
  }

  Held held_[2];
  std::vector<Submitted> all_;
};

TEST_F(ExchangeTest, TheDryGetHalfFromTheFullest) {
  StartHeld();
  for (int i = 0; i < 8; ++i) all_.push_back(Make(40, 1, i));
  PushAndHold();
  const std::vector<Submitted*> before = held_[0].running;
  RunDry();
  held_[0].gate.LetGo();

  HoldNext();
  // Every second one, by rank: as they came.
  EXPECT_THAT(held_[0].running, ::testing::ElementsAre(before[0], before[2]));
  EXPECT_THAT(held_[1].running, ::testing::ElementsAre(before[1], before[3]));
  EXPECT_EQ(live_slots_, 4);
  OpenAll();
  for (Submitted* one : before) ExpectResult(*one);
  Settle();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(ExchangeTest, TermsOfALikelihoodGoOnElsewhere) {
  StartHeld();
  for (int i = 0; i < 4; ++i) all_.push_back(MakeEvaluate(60, 1, i));
  PushAndHold();
  const std::set<Submitted*> before(held_[0].running.begin(), held_[0].running.end());
  ASSERT_THAT(before, SizeIs(2));
  RunDry();
  held_[0].gate.LetGo();
  HoldNext();
  EXPECT_NE(held_[0].running[0], held_[1].running[0]);
  OpenAll();
  for (Submitted* one : before) ExpectBound(*one);
}

TEST_F(ExchangeTest, WhatEndsOnTheWayIsFreed) {
  StartHeld();
  for (int i = 0; i < 8; ++i) all_.push_back(Make(40, 1, i));
  PushAndHold();
  const std::vector<Submitted*> before = held_[0].running;
  RunDry();
  held_[0].gate.LetGo();
  held_[1].gate.WaitForTick();
  before[1]->stream().Cancel(absl::CancelledError("test"));  // it has moved
  before[0]->stream().Cancel(absl::CancelledError("test"));
  OpenAll();
  ExpectResult(*before[2]);
  ExpectResult(*before[3]);
  Settle();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineTest, AnEngineWithATaskAsksForNoChains) {
  Start();
  const absl::Status done = engines_[0]->Run([this] {
    EXPECT_FALSE(exchange_->anyone_asks());
    return absl::OkStatus();
  });
  EXPECT_TRUE(done.ok());
}

TEST(ChainExchangeTest, OnlyTheFullestSends) {
  ChainExchange exchange(3);
  int woken = 0;
  for (int engine = 0; engine < 3; ++engine) exchange.Join(engine, [&] { ++woken; });
  exchange.Report(0, 5);
  exchange.Report(1, 6);
  EXPECT_FALSE(exchange.anyone_asks());
  exchange.Ask(2);
  EXPECT_TRUE(exchange.anyone_asks());
  const auto pack = [] {
    std::vector<ChainExchange::Parcel> parcels(2);
    parcels[0].chain.index = 7;
    return parcels;
  };
  exchange.Send(0, pack);
  EXPECT_THAT(exchange.Take(2), IsEmpty());
  exchange.Send(1, pack);
  EXPECT_EQ(woken, 1);
  EXPECT_FALSE(exchange.anyone_asks());
  const auto parcels = exchange.Take(2);
  ASSERT_THAT(parcels, SizeIs(2));
  EXPECT_EQ(parcels[0].chain.index, 7u);
  EXPECT_THAT(exchange.Take(2), IsEmpty());
}

TEST(ChainExchangeTest, WhoHasChainsAgainAsksNoMore) {
  ChainExchange exchange(2);
  for (int engine = 0; engine < 2; ++engine) exchange.Join(engine, [] {});
  exchange.Ask(0);
  exchange.Ask(0);
  EXPECT_TRUE(exchange.anyone_asks());
  exchange.AskNoMore(0);
  EXPECT_FALSE(exchange.anyone_asks());
}

TEST(ChainExchangeTest, WhoHasLeftIsSentNothing) {
  ChainExchange exchange(2);
  for (int engine = 0; engine < 2; ++engine) exchange.Join(engine, [] {});
  exchange.Report(1, 4);
  exchange.Ask(0);
  const auto pack = [] { return std::vector<ChainExchange::Parcel>(1); };
  exchange.Send(1, pack);
  EXPECT_THAT(exchange.Leave(0), SizeIs(1)) << "what came before is handed out";
  exchange.Ask(0);
  exchange.Send(1, [] {
    ADD_FAILURE() << "packed for nobody";
    return std::vector<ChainExchange::Parcel>();
  });
}

// Requests of very different lengths, some cancelled and some past their deadlines, over four
// engines that stop one after another in the middle: each ends exactly once, with the right samples
// where it ends well, and no slot is left.
TEST_F(EngineTest, StormOverEnginesThatRunDryAndStop) {
  Start(nullptr, Batching::kStep, 4, /*max_active=*/16);
  std::vector<Submitted> all;
  std::mt19937 random(1);
  for (int i = 0; i < 600; ++i) {
    const uint32_t steps = random() % 8 == 0 ? 400 : 1 + random() % 5;
    all.push_back(random() % 5 == 0 ? MakeEvaluate(steps, 1 + random() % 3, i)
                                    : Make(steps, 1 + random() % 6, i));
    if (random() % 10 == 0) {
      all.back().request->deadline = clock_.Now() + std::chrono::milliseconds(random() % 100);
    }
  }
  std::thread disturber([&] {
    for (size_t i = 0; i < all.size(); i += 7) {
      all[i].stream().Cancel(absl::CancelledError("storm"));
      clock_.Advance(std::chrono::milliseconds(1));
    }
  });
  for (Submitted& one : all) Push(one);
  disturber.join();
  int ended_well = 0;
  const auto read = [&](Submitted& one) {
    const uint64_t rows = one.request->num_samples * one.request->rows_per_chain();
    StreamEvent event = one.reader->Next();
    while (event.index() < 2) event = one.reader->Next();  // states and terms
    EXPECT_FALSE(one.stream().Take().has_value()) << "an event after the last";
    if (const auto* status = std::get_if<absl::Status>(&event)) {
      EXPECT_TRUE(absl::IsCancelled(*status) || absl::IsDeadlineExceeded(*status) ||
                  absl::IsUnavailable(*status))
          << *status;
      return;
    }
    ++ended_well;
    EXPECT_EQ(std::get<ResultEvent>(event).denoiser_rows, rows);
    if (one.request->evaluation != nullptr) return;
    EXPECT_EQ(std::get<ResultEvent>(event).samples, ExpectedSamples(*one.request));
  };
  for (size_t i = 0; i < all.size() / 2; ++i) read(all[i]);
  EXPECT_GT(ended_well, 100);
  std::vector<std::thread> stoppers;
  for (auto& engine : engines_) stoppers.emplace_back([&engine] { engine->Stop(); });
  for (std::thread& stopper : stoppers) stopper.join();
  for (const auto& request : queue_->TakeAll()) request->stream->Fail(absl::UnavailableError(""));
  for (size_t i = all.size() / 2; i < all.size(); ++i) read(all[i]);
  EXPECT_EQ(live_slots_, 0);
}

}  // namespace
}  // namespace denoise
