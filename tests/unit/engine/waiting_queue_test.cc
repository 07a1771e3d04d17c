#include "server/engine/waiting_queue.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/diffusion/field_error.h"
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

TEST(WaitingQueueTest, FirstComeFirstServedAndSplitOverPulls) {
  WaitingQueue queue({.max_waiting = 10, .engines = 1});
  const auto a = NewRequest(3);
  const auto b = NewRequest(2);
  EXPECT_EQ(queue.TryPush(a)->requests_before, 0u);
  const auto place = queue.TryPush(b);
  EXPECT_EQ(place->requests_before, 1u);
  EXPECT_EQ(place->rows_before, 9u);
  EXPECT_EQ(queue.rows_waiting(), 15u);

  auto first = queue.Pull(0, {0, 2}, SteadyTime());
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].request, a);
  EXPECT_EQ(first[0].first, 0u);
  EXPECT_EQ(first[0].count, 2u);
  EXPECT_EQ(queue.requests_waiting(), 2u);

  auto second = queue.Pull(0, {2, 5}, SteadyTime());
  ASSERT_EQ(second.size(), 2u);
  EXPECT_EQ(second[0].first, 2u);
  EXPECT_EQ(second[0].count, 1u);
  EXPECT_EQ(second[1].request, b);
  EXPECT_EQ(second[1].count, 2u);
  EXPECT_EQ(queue.requests_waiting(), 0u);
  EXPECT_EQ(queue.rows_waiting(), 0u);
}

TEST(WaitingQueueTest, EnginesEndUpWithEquallyMany) {
  WaitingQueue queue({.max_waiting = 10, .engines = 2});
  ASSERT_TRUE(queue.TryPush(NewRequest(8)).ok());
  EXPECT_EQ(Count(queue.Pull(0, {0, 100}, SteadyTime())), 4u);
  EXPECT_EQ(Count(queue.Pull(0, {4, 100}, SteadyTime())), 0u);
  EXPECT_EQ(Count(queue.Pull(1, {0, 100}, SteadyTime())), 4u);
  // Engine 0 has lost its chains: what comes next is its own.
  ASSERT_TRUE(queue.TryPush(NewRequest(4)).ok());
  EXPECT_EQ(Count(queue.Pull(1, {4, 100}, SteadyTime())), 2u);  // it still counts 4 for engine 0
  EXPECT_EQ(Count(queue.Pull(0, {0, 100}, SteadyTime())), 2u);
}

TEST(WaitingQueueTest, FullIsSaidAtOnce) {
  WaitingQueue queue({.max_waiting = 2, .engines = 1});
  ASSERT_TRUE(queue.TryPush(NewRequest(1)).ok());
  ASSERT_TRUE(queue.TryPush(NewRequest(1)).ok());
  const auto refused = NewRequest(1);
  EXPECT_TRUE(absl::IsResourceExhausted(queue.TryPush(refused).status()));
  EXPECT_EQ(refused.use_count(), 1);
  (void)queue.Pull(0, {0, 1}, SteadyTime());
  EXPECT_TRUE(queue.TryPush(refused).ok());
}

class MemoryTest : public testing::Test {
 protected:
  // `floats` of its own, brought with it.
  std::shared_ptr<Request> Bringing(size_t floats, uint32_t samples) {
    auto request = NewRequest(samples);
    request->model = std::make_shared<ModelInfo>(FakeModel());
    request->start.resize(floats);
    return request;
  }
  // One whose chains take so many times as much.
  std::shared_ptr<Request> Wide(int times, uint32_t samples) {
    auto request = Bringing(0, samples);
    auto table = std::make_shared<Table>(*request->table);
    table->registers = 1 + static_cast<int>((times - 1) * kChain / (4 * sizeof(float)));
    request->table = table;
    return request;
  }
  // Of a chain without that: x, 4 values, and what every chain costs.
  static constexpr size_t kChain = 4 * sizeof(float) + 1024;
};

TEST_F(MemoryTest, WhereMemoryIsFullNothingIsTakenInAndTheLargestCanBeTakenOut) {
  WaitingQueue queue({.max_waiting = 10, .max_bytes = 1 << 20, .engines = 1});
  const auto small = Bringing(4, 1);
  const auto large = Bringing(400, 1);
  ASSERT_TRUE(queue.TryPush(small).ok());
  ASSERT_TRUE(queue.TryPush(large).ok());
  queue.SetMemoryFull(true);
  EXPECT_TRUE(absl::IsResourceExhausted(queue.TryPush(Bringing(4, 1)).status()));
  EXPECT_EQ(queue.TakeLargest(), large);
  EXPECT_EQ(queue.TakeLargest(), small);
  EXPECT_EQ(queue.TakeLargest(), nullptr);
  queue.SetMemoryFull(false);
  EXPECT_TRUE(queue.TryPush(small).ok());
}

TEST_F(MemoryTest, AChainIsWhatItKeeps) {
  auto request = Bringing(4, 2);
  EXPECT_EQ(request->bytes_per_chain(), kChain);
  const size_t table_bytes = request->table->rows.size() * sizeof(Row);
  EXPECT_EQ(request->data_bytes(), 4 * sizeof(float) + table_bytes);
  auto table = std::make_shared<Table>(*request->table);
  table->registers = 3;
  table->keeps_noise = true;
  table->stochastic = true;
  request->table = table;
  EXPECT_EQ(request->bytes_per_chain(), kChain + 3 * 4 * sizeof(float) + 5 * 1024);
  request->mask.resize(4);
  request->known.resize(8);
  Condition condition;
  condition.data.resize(100);
  request->conditions = std::make_shared<Conditions>(2, condition);
  EXPECT_EQ(request->data_bytes(), 16 * sizeof(float) + 200 + table_bytes);
}

TEST_F(MemoryTest, WhatIsDecodedIsLarger) {
  auto request = Bringing(4, 2);  // decoded, 12 values
  EXPECT_EQ(request->result_bytes(), 2 * 4 * sizeof(float));
  request->decode = true;
  EXPECT_EQ(request->bytes_per_chain(), kChain);
  EXPECT_EQ(request->result_bytes(), 2 * 12 * sizeof(float));
  request->decode = false;
  request->states = {1, {}, {Content::kXt, Content::kPredictedX0}, /*decode=*/true};
  EXPECT_EQ(request->bytes_per_chain(), kChain + 2 * 12 * sizeof(float));
}

TEST_F(MemoryTest, EnginesGetOnlyWhatFitsAndTheRestWaits) {
  WaitingQueue queue({.max_waiting = 10, .max_bytes = 5 * kChain, .engines = 2});
  ASSERT_TRUE(queue.TryPush(Bringing(0, 8)).ok());
  const auto first = queue.Pull(0, {.active = 0, .room = 100}, SteadyTime());
  EXPECT_EQ(Count(first), 4u);
  EXPECT_EQ(first[0].bytes_per_chain, kChain);
  EXPECT_EQ(Count(queue.Pull(1, {.active = 0, .room = 100}, SteadyTime())), 1u);
  EXPECT_EQ(Count(queue.Pull(1, {.active = 1, .room = 100, .bytes = kChain}, SteadyTime())), 0u);
  // Two have ended.
  EXPECT_EQ(Count(queue.Pull(0, {.active = 2, .room = 100, .bytes = 2 * kChain}, SteadyTime())),
            1u);
  EXPECT_EQ(Count(queue.Pull(1, {.active = 1, .room = 100, .bytes = kChain}, SteadyTime())), 1u);
  EXPECT_EQ(queue.requests_waiting(), 1u);
}

TEST_F(MemoryTest, TheLargeAreNotPassedByTheSmall) {
  WaitingQueue queue({.max_waiting = 10, .max_bytes = 3 * kChain, .engines = 1});
  const auto large = Wide(3, 1);
  ASSERT_TRUE(queue.TryPush(large).ok());
  ASSERT_TRUE(queue.TryPush(Bringing(0, 1)).ok());
  EXPECT_EQ(Count(queue.Pull(0, {.active = 1, .room = 100, .bytes = kChain}, SteadyTime())), 0u);
  const auto next = queue.Pull(0, {.active = 0, .room = 100}, SteadyTime());
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].request, large);
}

TEST_F(MemoryTest, WhatCouldNeverRunIsInvalid) {
  WaitingQueue queue({.max_waiting = 10, .max_bytes = 3 * kChain, .engines = 1});
  EXPECT_TRUE(queue.TryPush(Wide(3, 100)).ok());
  const auto never = queue.TryPush(Wide(4, 1)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(never));
  EXPECT_EQ(FieldOf(never), "num_samples");
  EXPECT_THAT(std::string(never.message()), testing::HasSubstr("3120 are there"));
  EXPECT_EQ(queue.requests_waiting(), 1u);
}

TEST(WaitingQueueTest, RemoveTakesOutWhatIsLeft) {
  WaitingQueue queue({.max_waiting = 10, .engines = 1});
  const auto a = NewRequest(3);
  const auto b = NewRequest(1);
  ASSERT_TRUE(queue.TryPush(a).ok());
  ASSERT_TRUE(queue.TryPush(b).ok());
  (void)queue.Pull(0, {0, 1}, SteadyTime());
  queue.Remove(*a);
  queue.Remove(*a);
  EXPECT_EQ(queue.rows_waiting(), 3u);
  const auto rest = queue.Pull(0, {1, 10}, SteadyTime());
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].request, b);
}

TEST(WaitingQueueTest, ClosedTakesNothingIn) {
  WaitingQueue queue({.max_waiting = 10, .engines = 1});
  ASSERT_TRUE(queue.TryPush(NewRequest(1)).ok());
  queue.Close();
  EXPECT_TRUE(absl::IsUnavailable(queue.TryPush(NewRequest(1)).status()));
  EXPECT_EQ(Count(queue.Pull(0, {0, 10}, SteadyTime())), 1u);
}

TEST(WaitingQueueTest, TakeAllLeavesNothing) {
  WaitingQueue queue({.max_waiting = 10, .engines = 1});
  const auto a = NewRequest(3);
  ASSERT_TRUE(queue.TryPush(a).ok());
  ASSERT_TRUE(queue.TryPush(NewRequest(1)).ok());
  (void)queue.Pull(0, {0, 1}, SteadyTime());
  const auto all = queue.TakeAll();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0], a);
  EXPECT_EQ(queue.requests_waiting(), 0u);
  EXPECT_EQ(queue.rows_waiting(), 0u);
  EXPECT_EQ(Count(queue.Pull(0, {1, 10}, SteadyTime())), 0u);
}

TEST(WaitingQueueTest, TheMoreUrgentGoesBeforeAndIsToldSo) {
  WaitingQueue queue({.max_waiting = 10});
  const auto usual = NewRequest(2);
  const auto urgent = NewRequest(1);
  urgent->priority = 1;
  const auto idle = NewRequest(1);
  idle->priority = -1;
  ASSERT_TRUE(queue.TryPush(usual).ok());
  EXPECT_EQ(queue.TryPush(urgent)->requests_before, 0u);
  const auto place = queue.TryPush(idle);
  EXPECT_EQ(place->requests_before, 2u);
  EXPECT_EQ(place->rows_before, 9u);
  const auto pulled = queue.Pull(0, {.room = 10}, SteadyTime());
  ASSERT_EQ(pulled.size(), 3u);
  EXPECT_EQ(pulled[0].request, urgent);
  EXPECT_EQ(pulled[1].request, usual);
  EXPECT_EQ(pulled[2].request, idle);
}

TEST(WaitingQueueTest, RowsBeforeAreThoseThatGoFirstInThatTime) {
  WaitingQueue queue({.max_waiting = 10});
  ASSERT_TRUE(queue.TryPush(NewRequest(2, 100)).ok());
  ASSERT_TRUE(queue.TryPush(NewRequest(1, 5)).ok());
  const auto other_model = NewRequest(1, 7);
  other_model->model = std::make_shared<const ModelInfo>();
  ASSERT_TRUE(queue.TryPush(other_model).ok());
  const auto next = NewRequest(1);
  EXPECT_EQ(queue.RowsBefore(*next, 1000), 205u);
  EXPECT_EQ(queue.RowsBefore(*next, 10), 25u);
  next->priority = 1;
  EXPECT_EQ(queue.RowsBefore(*next, 1000), 0u);
}

TEST(WaitingQueueTest, ATenantHasItsPart) {
  WaitingQueue queue({.max_waiting = 3});
  const auto request = [](const char* tenant) {
    auto request = NewRequest(1);
    request->tenant = tenant;
    request->limits.max_waiting = 1;
    return request;
  };
  const auto first = request("a");
  ASSERT_TRUE(queue.TryPush(first).ok());
  const absl::Status refused = queue.TryPush(request("a")).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_TRUE(QuotaDelayOf(refused).has_value());
  ASSERT_TRUE(queue.TryPush(request("b")).ok());
  ASSERT_TRUE(queue.TryPush(request("")).ok());
  // The whole queue is full, which says more.
  EXPECT_FALSE(QuotaDelayOf(queue.TryPush(request("a")).status()).has_value());
  queue.Remove(*first);
  EXPECT_TRUE(queue.TryPush(request("a")).ok());
  (void)queue.Pull(0, {.room = 10}, SteadyTime());
  EXPECT_TRUE(queue.TryPush(request("a")).ok());
  (void)queue.TakeAll();
  EXPECT_TRUE(queue.TryPush(request("a")).ok());
}

class ActiveChainsTest : public testing::Test {
 protected:
  std::shared_ptr<Request> Of(const char* tenant, uint32_t samples, size_t max_active) {
    auto request = NewRequest(samples);
    request->tenant = tenant;
    request->limits.max_active = max_active;
    return request;
  }
};

TEST_F(ActiveChainsTest, ATenantHasNoMoreAndOthersPass) {
  WaitingQueue queue({.max_waiting = 10});
  const auto greedy = Of("greedy", 64, 4);
  const auto more = Of("greedy", 2, 4);
  const auto modest = Of("modest", 3, 4);
  for (const auto& request : {greedy, more, modest}) ASSERT_TRUE(queue.TryPush(request).ok());
  auto pulled = queue.Pull(0, {.room = 100}, SteadyTime());
  ASSERT_EQ(pulled.size(), 2u);
  EXPECT_EQ(pulled[0].request, greedy);
  EXPECT_EQ(pulled[0].count, 4u);
  EXPECT_EQ(pulled[1].request, modest);
  EXPECT_EQ(pulled[1].count, 3u);
  EXPECT_TRUE(queue.Pull(0, {.active = 7, .room = 93}, SteadyTime()).empty());

  // One has ended.
  pulled[0].active.TakeOne();
  const auto next = queue.Pull(0, {.active = 6, .room = 94}, SteadyTime());
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].request, greedy);
  EXPECT_EQ(next[0].first, 4u);
  EXPECT_EQ(next[0].count, 1u);
}

TEST_F(ActiveChainsTest, WithinATenantTheOrderHolds) {
  WaitingQueue queue({.max_waiting = 10});
  const auto usual = Of("a", 2, 2);
  const auto urgent = Of("a", 2, 2);
  urgent->priority = 1;
  ASSERT_TRUE(queue.TryPush(usual).ok());
  ASSERT_TRUE(queue.TryPush(urgent).ok());
  const auto pulled = queue.Pull(0, {.room = 100}, SteadyTime());
  ASSERT_EQ(pulled.size(), 1u);
  EXPECT_EQ(pulled[0].request, urgent);
}

TEST_F(ActiveChainsTest, WhatMayNotRunCountsForNoEnginesShare) {
  WaitingQueue queue({.max_waiting = 10, .engines = 2});
  ASSERT_TRUE(queue.TryPush(Of("greedy", 64, 4)).ok());
  ASSERT_TRUE(queue.TryPush(Of("modest", 4, 0)).ok());
  const auto first = queue.Pull(0, {.room = 100}, SteadyTime());
  EXPECT_EQ(Count(first), 4u);
  EXPECT_EQ(Count(queue.Pull(1, {.room = 100}, SteadyTime())), 4u);
}

TEST_F(ActiveChainsTest, WhatMayNotRunStandsInNoOnesWay) {
  WaitingQueue queue({.max_waiting = 10});
  ASSERT_TRUE(queue.TryPush(Of("greedy", 64, 4)).ok());
  EXPECT_EQ(queue.RowsBefore(*Of("modest", 1, 0), 2), 8u) << "four chains, and two calls of each";
  EXPECT_EQ(queue.RowsBefore(*Of("greedy", 1, 4), 2), 128u);
}

TEST(WaitingQueueTest, WhatHasWaitedAsLongAsItMayIsHandedOutToEnd) {
  WaitingQueue queue({.max_waiting = 10});
  const auto late = NewRequest(2);
  late->deadline = SteadyTime(std::chrono::seconds(5));
  late->deadline_is_limit = true;
  const auto first = NewRequest(1);
  ASSERT_TRUE(queue.TryPush(first).ok());
  ASSERT_TRUE(queue.TryPush(late).ok());
  const auto pulled = queue.Pull(0, {.room = 1}, SteadyTime(std::chrono::seconds(5)));
  ASSERT_EQ(pulled.size(), 2u);
  EXPECT_EQ(pulled[0].request, late);
  EXPECT_EQ(pulled[0].count, 0u);
  EXPECT_EQ(pulled[1].request, first) << "a limit puts nobody first";
  EXPECT_EQ(queue.requests_waiting(), 0u);
}

TEST(WaitingQueueTest, FairTenantsTakeTurns) {
  WaitingQueue queue({.max_waiting = 10, .policy = Policy({.order = Order::kFair})});
  std::vector<std::shared_ptr<Request>> requests;
  for (const char* tenant : {"a", "a", "a", "b", "b"}) {
    requests.push_back(NewRequest(1));
    requests.back()->tenant = tenant;
    ASSERT_TRUE(queue.TryPush(requests.back()).ok());
  }
  const auto pulled = queue.Pull(0, {.room = 10}, SteadyTime());
  ASSERT_EQ(pulled.size(), 5u);
  const size_t turns[] = {0, 3, 1, 4, 2};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(pulled[i].request, requests[turns[i]]) << i;
}

TEST(WaitingQueueTest, WakesEveryEngine) {
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
