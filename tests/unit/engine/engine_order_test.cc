// The order of active chains where a batch cannot hold all.
#include <chrono>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/unit/engine/engine_fixture.h"

namespace denoise {
namespace {

using std::chrono::seconds;

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
  Submitted usual = Submit(3);
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
  Submitted usual = Submit(3);
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
  Submitted longer = Submit(5);
  gate_.WaitForTick();
  Submitted shorter = Submit(2);
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

TEST_F(OrderTest, ATenantsFurtherChainsWaitUntilSomeHaveEnded) {
  StartOneByOne(Policy());
  Submitted greedy = Make(2, 8);
  greedy.request->tenant = "greedy";
  greedy.request->limits.max_active = 2;
  Push(greedy);
  gate_.WaitForTick();
  Submitted modest = Make(2);
  Push(modest);
  // Two of the greedy ones at a time, and the modest one.
  for (int i = 0; i < 6; ++i) {
    EXPECT_LE(engines_[0]->chains_active(), 3u);
    Tick();
  }
  EXPECT_FALSE(greedy.stream().ended());
  gate_.Open();
  ExpectResult(modest);
  ExpectResult(greedy);
}

TEST_F(OrderTest, WhatTakesLongerThanItMayIsEndedAndToldSo) {
  StartOneByOne(Policy());
  Submitted slow = Make(5);
  slow.request->deadline = clock_.Now() + seconds(3);
  slow.request->deadline_is_limit = true;
  Push(slow);
  gate_.WaitForTick();
  clock_.Advance(seconds(3));
  gate_.Open();
  const auto [states, end] = slow.reader->All();
  ASSERT_TRUE(std::holds_alternative<absl::Status>(end));
  EXPECT_TRUE(absl::IsDeadlineExceeded(std::get<absl::Status>(end)));
  EXPECT_THAT(std::string(std::get<absl::Status>(end).message()),
              ::testing::HasSubstr("the 3s that a call of this caller may take"));
}

}  // namespace
}  // namespace denoise
