// The queue, the policy and the planner on a clock of their own, under a load that never ends.
#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/engine/batch_planner.h"
#include "server/engine/waiting_queue.h"
#include "tests/unit/engine/fake_clock.h"
#include "tests/unit/engine/fake_executor.h"

namespace denoise {
namespace {

constexpr std::chrono::milliseconds kTick(10);
constexpr int kVictimRows = 20;
constexpr int kRivalRows = 2;  // one comes at every tick, and a batch has two rows
constexpr int kTicks = 2000;
constexpr int kNever = -1;

// At tick 0 a long request comes, and ever after one that goes before it by rights.
class Simulation {
 public:
  Simulation(Policy policy, std::function<void(Request*)> alter_rival)
      : policy_(policy),
        queue_({.max_waiting = 10'000, .policy = policy}),
        alter_rival_(std::move(alter_rival)) {}

  void Run() {
    Push(kVictimRows, /*rival=*/false);
    for (tick_ = 0; tick_ < kTicks; ++tick_) {
      Push(kRivalRows, /*rival=*/true);
      Tick();
      clock_.Advance(kTick);
    }
  }

  // Ticks from arrival to end.
  int victim_ticks() const { return victim_ticks_; }
  int longest_ticks() const { return longest_ticks_; }

 private:
  struct Running {
    ChainRange range;
    uint64_t left;
  };

  void Push(uint32_t rows, bool rival) {
    auto request = std::make_shared<Request>();
    request->table = FakeTable(rows);
    request->arrival = clock_.Now();
    if (rival) {
      alter_rival_(request.get());
    } else {
      victim_ = request;
    }
    ASSERT_TRUE(queue_.TryPush(std::move(request)).ok());
  }

  void Tick() {
    WaitingQueue::Load load{.active = running_.size(), .room = 4 - running_.size()};
    for (const Running& one : running_) {
      load.least_share = std::min(load.least_share, one.range.standing.share);
    }
    for (ChainRange& range : queue_.Pull(0, load, clock_.Now())) {
      const uint64_t rows = range.rows_per_chain;
      running_.push_back({std::move(range), rows});
    }
    std::sort(running_.begin(), running_.end(), [this](const Running& a, const Running& b) {
      return policy_.RankOf(a.range.standing, a.left, clock_.Now()) <
             policy_.RankOf(b.range.standing, b.left, clock_.Now());
    });
    std::vector<Candidate> candidates(running_.size());
    for (size_t i = 0; i < candidates.size(); ++i) {
      candidates[i].chain = i;
      candidates[i].denoiser_rows = 1;
    }
    for (const size_t i : planner_.Plan(candidates, sizes_).chains) --running_[i].left;
    for (const Running& one : running_) {
      if (one.left > 0) continue;
      const int ticks = static_cast<int>((clock_.Now() - one.range.request->arrival) / kTick);
      longest_ticks_ = std::max(longest_ticks_, ticks);
      if (one.range.request == victim_) victim_ticks_ = ticks;
    }
    std::erase_if(running_, [](const Running& one) { return one.left == 0; });
  }

  const Policy policy_;
  const std::vector<std::vector<int64_t>> sizes_ = {{1, 2}};
  FakeClock clock_;
  WaitingQueue queue_;
  std::function<void(Request*)> alter_rival_;
  BatchPlanner planner_{Batching::kStep};
  std::vector<Running> running_;
  std::shared_ptr<const Request> victim_;
  int tick_ = 0;
  int victim_ticks_ = kNever;
  int longest_ticks_ = 0;
};

class StarvationTest : public testing::TestWithParam<Order> {
 protected:
  static Policy WithMaxWait(std::chrono::nanoseconds max_wait) {
    return Policy({.order = GetParam(), .max_wait = max_wait});
  }
};

// By higher priority, or by deadlines. The second run shows that the load is one that starves.
TEST_P(StarvationTest, NothingWaitsMuchLongerThanMaxWait) {
  int rival = 0;
  const std::function<void(Request*)> kinds[] = {
      [](Request* request) { request->priority = 1; },
      [](Request* request) { request->deadline = request->arrival + 99 * kTick; },
      [&](Request* request) {
        request->priority = 1;
        request->tenant = absl::StrCat(rival++);
      }};
  for (const auto& kind : kinds) {
    Simulation bounded(WithMaxWait(100 * kTick), kind);
    bounded.Run();
    // It then needs a place, and runs a row a tick.
    EXPECT_GT(bounded.victim_ticks(), 0);
    EXPECT_LE(bounded.victim_ticks(), 100 + kVictimRows + 4);
    // The rivals are not starved in turn.
    EXPECT_LE(bounded.longest_ticks(), 100 + 2 * kVictimRows);

    Simulation unbounded(WithMaxWait(std::chrono::hours(24)), kind);
    unbounded.Run();
    EXPECT_EQ(unbounded.victim_ticks(), kNever);
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, StarvationTest,
                         testing::Values(Order::kFcfs, Order::kSrpf, Order::kFair));

TEST(StarvationByOrderTest, TheLongIsNotStarvedByTheShort) {
  const auto equals = [](Request*) {};
  Simulation bounded(Policy({.order = Order::kSrpf, .max_wait = 100 * kTick}), equals);
  bounded.Run();
  EXPECT_GT(bounded.victim_ticks(), 0);
  EXPECT_LE(bounded.victim_ticks(), 100 + kVictimRows + 4);
  Simulation fair(Policy({.order = Order::kFair, .max_wait = std::chrono::hours(24)}),
                  [](Request* request) { request->tenant = "greedy"; });
  fair.Run();
  // It has a tenant of its own: its share of the batch, without any age.
  EXPECT_GT(fair.victim_ticks(), 0);
  EXPECT_LE(fair.victim_ticks(), 2 * kVictimRows);
}

}  // namespace
}  // namespace denoise
