#include "server/rpc/writer_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <vector>

namespace denoise {
namespace {

// What its functions refer to is declared before the pool, which joins its threads when it goes.
class FakeWriter : public Writer {
 public:
  explicit FakeWriter(std::function<void()> write, std::function<void()> stalled = nullptr)
      : write_(std::move(write)), stalled_(std::move(stalled)) {}
  void WriteNext() override { write_(); }
  void OnWriteStalled() override { stalled_(); }

 private:
  const std::function<void()> write_;
  const std::function<void()> stalled_;
};

TEST(WriterPoolTest, RunsEveryWriterOnceInOrder) {
  std::vector<int> order;
  std::promise<void> done;
  WriterPool pool({.threads = 1});
  for (int i = 0; i < 100; ++i) {
    pool.Schedule(std::make_shared<FakeWriter>([&order, &done, i] {
      order.push_back(i);
      if (i == 99) done.set_value();
    }));
  }
  done.get_future().wait();
  ASSERT_EQ(order.size(), 100u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(WriterPoolTest, OneThatTakesLongDoesNotHoldUpTheOthers) {
  std::promise<void> release, other_ran, slow_ended;
  std::future<void> released = release.get_future();
  WriterPool pool({.threads = 2});
  pool.Schedule(std::make_shared<FakeWriter>([&] {
    released.wait();
    slow_ended.set_value();
  }));
  pool.Schedule(std::make_shared<FakeWriter>([&] { other_ran.set_value(); }));
  other_ran.get_future().wait();  // while the first still runs
  release.set_value();
  slow_ended.get_future().wait();
}

TEST(WriterPoolTest, LetsGoOfAWriterThatWasRun) {
  std::promise<void> next;
  WriterPool pool({.threads = 1});
  auto writer = std::make_shared<FakeWriter>([] {});
  const std::weak_ptr<FakeWriter> weak = writer;
  pool.Schedule(std::move(writer));
  pool.Schedule(std::make_shared<FakeWriter>([&] { next.set_value(); }));
  next.get_future().wait();
  EXPECT_TRUE(weak.expired());
}

TEST(WriterPoolTest, OnlyAWriteThatIsNotEndedInTimeStalls) {
  std::atomic<int> quick_stalls{0};
  std::promise<void> stalled;
  WriterPool pool({.threads = 2, .write_timeout = std::chrono::milliseconds(20)});
  const auto quick = std::make_shared<FakeWriter>([] {}, [&] { ++quick_stalls; });
  const auto slow = std::make_shared<FakeWriter>([] {}, [&] { stalled.set_value(); });
  pool.WriteEnded(pool.WriteBegun(quick));
  const auto write = pool.WriteBegun(slow);  // younger, so its turn comes after that of the first
  stalled.get_future().wait();               // a second call would throw
  EXPECT_EQ(quick_stalls, 0);
  pool.WriteEnded(write);  // harmless afterwards
}

TEST(WriterPoolTest, StallsAreSeenWhileThereIsWork) {
  std::atomic<bool> stop{false};
  std::promise<void> stalled, ended;
  std::shared_ptr<FakeWriter> busy;
  WriterPool pool({.threads = 1, .write_timeout = std::chrono::milliseconds(10)});
  busy = std::make_shared<FakeWriter>([&] {
    if (stop) {
      ended.set_value();
    } else {
      pool.Schedule(busy);
    }
  });
  pool.Schedule(busy);
  pool.WriteBegun(std::make_shared<FakeWriter>([] {}, [&] { stalled.set_value(); }));
  stalled.get_future().wait();
  stop = true;
  ended.get_future().wait();
}

TEST(WriterPoolTest, EndsWithWritersLeft) {
  std::weak_ptr<FakeWriter> left;
  {
    std::promise<void> running, release;
    std::future<void> released = release.get_future();
    WriterPool pool({.threads = 1});
    pool.Schedule(std::make_shared<FakeWriter>([&] {
      running.set_value();
      released.wait();
    }));
    running.get_future().wait();
    auto writer = std::make_shared<FakeWriter>([] {});
    left = writer;
    pool.Schedule(writer);
    pool.WriteBegun(std::move(writer));
    release.set_value();
  }
  EXPECT_TRUE(left.expired());
}

}  // namespace
}  // namespace denoise
