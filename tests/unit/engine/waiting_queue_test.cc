#include "server/engine/waiting_queue.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/fake_executor.h"

namespace denoise {
namespace {

std::shared_ptr<Request> NewRequest(uint32_t samples, uint32_t steps = 3) {
  auto request = std::make_shared<Request>();
  request->num_samples = samples;
  request->table = FakeTable(steps);
  return request;
}

size_t Count(const std::vector<ChainRange>& ranges) {
  size_t count = 0;
  for (const ChainRange& range : ranges) count += range.count;
  return count;
}

TEST(WaitingQueue, FirstComeFirstServedAndSplitOverPulls) {
  WaitingQueue queue({.max_waiting = 10, .engines = 1});
  const auto a = NewRequest(3);
  const auto b = NewRequest(2);
  EXPECT_EQ(queue.TryPush(a)->requests_before, 0u);
  const auto place = queue.TryPush(b);
  EXPECT_EQ(place->requests_before, 1u);
  EXPECT_EQ(place->rows_before, 9u);
  EXPECT_EQ(queue.rows_waiting(), 15u);

  auto first = queue.Pull(0, 0, 2);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].request, a);
  EXPECT_EQ(first[0].first, 0u);
  EXPECT_EQ(first[0].count, 2u);
  EXPECT_EQ(queue.requests_waiting(), 2u);

  auto second = queue.Pull(0, 2, 5);
  ASSERT_EQ(second.size(), 2u);
  EXPECT_EQ(second[0].first, 2u);
  EXPECT_EQ(second[0].count, 1u);
  EXPECT_EQ(second[1].request, b);
  EXPECT_EQ(second[1].count, 2u);
  EXPECT_EQ(queue.requests_waiting(), 0u);
  EXPECT_EQ(queue.rows_waiting(), 0u);
}

TEST(WaitingQueue, EnginesEndUpWithEquallyMany) {
  WaitingQueue queue({.max_waiting = 10, .engines = 2});
  ASSERT_TRUE(queue.TryPush(NewRequest(8)).ok());
  EXPECT_EQ(Count(queue.Pull(0, 0, 100)), 4u);
  EXPECT_EQ(Count(queue.Pull(0, 4, 100)), 0u);
  EXPECT_EQ(Count(queue.Pull(1, 0, 100)), 4u);
  // Engine 0 has lost its chains: what comes next is its own.
  ASSERT_TRUE(queue.TryPush(NewRequest(4)).ok());
  EXPECT_EQ(Count(queue.Pull(1, 4, 100)), 2u);  // it still counts 4 for engine 0
  EXPECT_EQ(Count(queue.Pull(0, 0, 100)), 2u);
}

TEST(WaitingQueue, FullIsSaidAtOnce) {
  WaitingQueue queue({.max_waiting = 2, .engines = 1});
  ASSERT_TRUE(queue.TryPush(NewRequest(1)).ok());
  ASSERT_TRUE(queue.TryPush(NewRequest(1)).ok());
  const auto refused = NewRequest(1);
  EXPECT_TRUE(absl::IsResourceExhausted(queue.TryPush(refused).status()));
  EXPECT_EQ(refused.use_count(), 1);
  (void)queue.Pull(0, 0, 1);
  EXPECT_TRUE(queue.TryPush(refused).ok());
}

TEST(WaitingQueue, RemoveTakesOutWhatIsLeft) {
  WaitingQueue queue({.max_waiting = 10, .engines = 1});
  const auto a = NewRequest(3);
  const auto b = NewRequest(1);
  ASSERT_TRUE(queue.TryPush(a).ok());
  ASSERT_TRUE(queue.TryPush(b).ok());
  (void)queue.Pull(0, 0, 1);
  queue.Remove(*a);
  queue.Remove(*a);
  EXPECT_EQ(queue.rows_waiting(), 3u);
  const auto rest = queue.Pull(0, 1, 10);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].request, b);
}

TEST(WaitingQueue, ClosedTakesNothingIn) {
  WaitingQueue queue({.max_waiting = 10, .engines = 1});
  ASSERT_TRUE(queue.TryPush(NewRequest(1)).ok());
  queue.Close();
  EXPECT_TRUE(absl::IsUnavailable(queue.TryPush(NewRequest(1)).status()));
  EXPECT_EQ(Count(queue.Pull(0, 0, 10)), 1u);
}

TEST(WaitingQueue, TakeAllLeavesNothing) {
  WaitingQueue queue({.max_waiting = 10, .engines = 1});
  const auto a = NewRequest(3);
  ASSERT_TRUE(queue.TryPush(a).ok());
  ASSERT_TRUE(queue.TryPush(NewRequest(1)).ok());
  (void)queue.Pull(0, 0, 1);
  const auto all = queue.TakeAll();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0], a);
  EXPECT_EQ(queue.requests_waiting(), 0u);
  EXPECT_EQ(queue.rows_waiting(), 0u);
  EXPECT_EQ(Count(queue.Pull(0, 1, 10)), 0u);
}

TEST(WaitingQueue, WakesEveryEngine) {
  WaitingQueue queue({.max_waiting = 10, .engines = 2});
  int wakes[2] = {0, 0};
  queue.OnWork(0, [&] { ++wakes[0]; });
  queue.OnWork(1, [&] { ++wakes[1]; });
  ASSERT_TRUE(queue.TryPush(NewRequest(1)).ok());
  EXPECT_EQ(wakes[0], 1);
  EXPECT_EQ(wakes[1], 1);
}

}  // namespace
}  // namespace denoise
