#include "client/cli/task_loop.h"

#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;

TEST(TaskLoopTest, InOrderOfTimeThenOfArrival) {
  const auto loop = MakeTaskLoop();
  const absl::Duration now = loop->Now();
  std::vector<int> order;
  loop->At(now, [&] { order.push_back(2); });
  loop->At(now - absl::Seconds(1), [&] { order.push_back(1); });
  loop->At(now, [&] {
    order.push_back(3);
    loop->At(loop->Now(), [&] { loop->Quit(); });
  });
  loop->At(now + absl::Hours(1), [&] { order.push_back(4); });
  loop->Run();
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST(TaskLoopTest, NoTaskRunsBeforeItsTime) {
  const auto loop = MakeTaskLoop();
  const absl::Duration due = loop->Now() + absl::Milliseconds(2);
  absl::Duration ran;
  loop->At(due, [&] {
    ran = loop->Now();
    loop->Quit();
  });
  loop->Run();
  EXPECT_GE(ran, due);
}

TEST(TaskLoopTest, OthersWakeALoopThatSleeps) {
  const auto loop = MakeTaskLoop();
  loop->At(absl::InfiniteDuration(), [] { FAIL(); });
  std::vector<std::thread> threads;
  int count = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 100; ++k) {
        loop->Soon([&] {
          if (++count == 400) loop->Quit();
        });
      }
    });
  }
  loop->Run();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count, 400);
}

}  // namespace
}  // namespace denoise::cli
