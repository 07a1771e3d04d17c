#include "server/engine/backlog.h"

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/request.h"
#include "server/engine/waiting_queue.h"
#include "tests/unit/engine/fake_executor.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

// A model of which one replica does 4 rows in a second, all in one call.
std::shared_ptr<const ModelInfo> SlowModel() {
  auto model = std::make_shared<ModelInfo>();
  model->batch_sizes = {4};
  model->denoiser_seconds = {1.0};
  return model;
}

class BacklogTest : public ::testing::Test {
 protected:
  WaitingQueue MakeQueue(Order order, double seconds = 10) {
    return WaitingQueue(
        {.max_backlog = std::chrono::nanoseconds(static_cast<int64_t>(1e9 * seconds)),
         .policy = Policy({.order = order})});
  }
  std::shared_ptr<Request> NewRequest(uint32_t samples, uint32_t steps, std::string tenant = "") {
    auto request = std::make_shared<Request>();
    request->model = model_;
    request->num_samples = samples;
    request->table = FakeTable(steps);
    request->tenant = std::move(tenant);
    return request;
  }

  const std::shared_ptr<const ModelInfo> model_ = SlowModel();
};

TEST_F(BacklogTest, RefusesWhatWouldWaitLongerThanThat) {
  WaitingQueue queue = MakeQueue(Order::kFcfs);
  auto first = NewRequest(4, 10);  // 10 s
  ASSERT_TRUE(queue.TryPush(first).ok());
  const auto second = NewRequest(4, 1);
  ASSERT_TRUE(queue.TryPush(second).ok());
  const absl::Status refused = queue.TryPush(NewRequest(1, 1)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("takes 11s or more, and no more than 10s"));
  EXPECT_EQ(queue.requests_waiting(), 2u);
}

TEST_F(BacklogTest, CountsWhatRunsUntilItIsDone) {
  WaitingQueue queue = MakeQueue(Order::kFcfs);
  auto first = NewRequest(4, 11);
  ASSERT_TRUE(queue.TryPush(first).ok());
  auto pulled = queue.Pull(0, {.room = 10}, SteadyTime());
  ASSERT_EQ(pulled.size(), 1u);
  EXPECT_FALSE(queue.TryPush(NewRequest(1, 1)).ok());
  first->work->Done(4);
  const auto second = NewRequest(4, 1);
  EXPECT_TRUE(queue.TryPush(second).ok());
  EXPECT_FALSE(queue.TryPush(NewRequest(1, 1)).ok());
  // The first has ended early: nobody holds it any more.
  first.reset();
  pulled.clear();
  EXPECT_TRUE(queue.TryPush(NewRequest(1, 1)).ok());
}

TEST_F(BacklogTest, WhatFindsRoomInABatchWaitsForNothing) {
  WaitingQueue queue = MakeQueue(Order::kFcfs);
  const auto long_one = NewRequest(2, 1000);
  ASSERT_TRUE(queue.TryPush(long_one).ok());
  const auto another = NewRequest(2, 1000);
  EXPECT_TRUE(queue.TryPush(another).ok());
  EXPECT_FALSE(queue.TryPush(NewRequest(1, 1)).ok());
}

TEST_F(BacklogTest, CountsOnlyWhatGoesBefore) {
  WaitingQueue shortest = MakeQueue(Order::kSrpf);
  const auto bulk = NewRequest(4, 100);
  ASSERT_TRUE(shortest.TryPush(bulk).ok());
  EXPECT_FALSE(shortest.TryPush(NewRequest(1, 101)).ok());
  EXPECT_TRUE(shortest.TryPush(NewRequest(1, 99)).ok());

  WaitingQueue fair = MakeQueue(Order::kFair);
  const auto greedy = NewRequest(4, 100, "greedy");
  ASSERT_TRUE(fair.TryPush(greedy).ok());
  EXPECT_FALSE(fair.TryPush(NewRequest(1, 1, "greedy")).ok());
  const auto modest = NewRequest(4, 5, "modest");
  EXPECT_TRUE(fair.TryPush(modest).ok());

  WaitingQueue first_come = MakeQueue(Order::kFcfs);
  const auto usual = NewRequest(4, 100);
  ASSERT_TRUE(first_come.TryPush(usual).ok());
  const auto urgent = NewRequest(1, 1);
  urgent->priority = 1;
  EXPECT_TRUE(first_come.TryPush(urgent).ok());
}

TEST_F(BacklogTest, OfABoundedTenantOnlyWhatMayRunIsInTheWay) {
  WaitingQueue queue = MakeQueue(Order::kFcfs);
  const auto greedy = NewRequest(4, 100, "greedy");  // 100 s, in one batch
  greedy->limits.max_active = 2;
  ASSERT_TRUE(queue.TryPush(greedy).ok());
  EXPECT_FALSE(queue.TryPush(NewRequest(1, 1, "greedy")).ok());
  const auto modest = NewRequest(2, 1, "modest");
  EXPECT_TRUE(queue.TryPush(modest).ok()) << "half of the batch is free";
}

TEST_F(BacklogTest, ThereIsNoBoundWhereNoneIsGivenOrNothingWasMeasured) {
  WaitingQueue free = MakeQueue(Order::kFcfs, 0);
  const auto first = NewRequest(64, 1000);
  ASSERT_TRUE(free.TryPush(first).ok());
  EXPECT_TRUE(free.TryPush(NewRequest(1, 1)).ok());

  WaitingQueue unmeasured = MakeQueue(Order::kFcfs);
  auto model = std::make_shared<ModelInfo>();
  model->batch_sizes = {4};
  const auto unknown = NewRequest(64, 1000);
  unknown->model = model;
  ASSERT_TRUE(unmeasured.TryPush(unknown).ok());
  EXPECT_TRUE(unmeasured.TryPush(NewRequest(1, 1)).ok());
}

TEST_F(BacklogTest, WhatIsRefusedCountsForNothing) {
  WaitingQueue queue = MakeQueue(Order::kFair, 3);
  const auto first = NewRequest(4, 4, "a");
  ASSERT_TRUE(queue.TryPush(first).ok());
  const auto refused = NewRequest(64, 1000, "a");
  EXPECT_FALSE(queue.TryPush(refused).ok());
  EXPECT_EQ(queue.rows_waiting(), 16u);
  first->work->Done(4);
  EXPECT_TRUE(queue.TryPush(NewRequest(4, 1, "a")).ok());
}

}  // namespace
}  // namespace denoise
