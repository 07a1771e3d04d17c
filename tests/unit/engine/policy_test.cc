#include "server/engine/policy.h"

#include "gtest/gtest.h"

namespace denoise {
namespace {

using std::chrono::seconds;

const SteadyTime kStart{seconds(1000)};

Policy Of(Order order) { return Policy({.order = order, .max_wait = seconds(10)}); }

Standing Arrived(uint64_t sequence, int age_seconds, int priority = 0) {
  Standing standing;
  standing.sequence = sequence;
  standing.arrival = kStart - seconds(age_seconds);
  standing.priority = priority;
  return standing;
}

class EveryOrderTest : public testing::TestWithParam<Order> {
 protected:
  bool Before(const Standing& a, const Standing& b, uint64_t rows_a = 5, uint64_t rows_b = 5) {
    const Policy policy = Of(GetParam());
    return policy.RankOf(a, rows_a, kStart) < policy.RankOf(b, rows_b, kStart);
  }
};

TEST_P(EveryOrderTest, PriorityFirst) {
  EXPECT_TRUE(Before(Arrived(2, 1, 1), Arrived(1, 5, 0), 100, 1));
  EXPECT_FALSE(Before(Arrived(1, 5, -1), Arrived(2, 1, 0)));
}

TEST_P(EveryOrderTest, ThenTheEarliestDeadline) {
  Standing soon = Arrived(3, 1);
  soon.deadline = kStart + seconds(1);
  Standing later = Arrived(2, 1);
  later.deadline = kStart + seconds(2);
  EXPECT_TRUE(Before(soon, later, 100, 1));
  EXPECT_TRUE(Before(later, Arrived(1, 5), 100, 1)) << "none is later than any";
  EXPECT_TRUE(Before(Arrived(4, 1, 1), soon)) << "priority counts for more";
}

TEST_P(EveryOrderTest, ADeadlinePastMaxWaitIsNone) {
  Standing patient = Arrived(2, 1);
  patient.deadline = patient.arrival + seconds(10);
  EXPECT_FALSE(Before(patient, Arrived(1, 1)));
  patient.deadline -= std::chrono::nanoseconds(1);
  EXPECT_TRUE(Before(patient, Arrived(1, 1)));
}

TEST_P(EveryOrderTest, EqualsGoAsTheyCame) {
  EXPECT_TRUE(Before(Arrived(1, 3), Arrived(2, 3)));
  EXPECT_FALSE(Before(Arrived(2, 3), Arrived(1, 3)));
}

TEST_P(EveryOrderTest, WhatIsOlderThanMaxWaitGoesFirstAndTheOldestOfItFirst) {
  Standing urgent = Arrived(9, 9, kMaxPriority);
  urgent.deadline = kStart;
  const Standing old = Arrived(2, 10, -kMaxPriority);
  EXPECT_TRUE(Before(old, urgent, 1000, 1));
  Standing older = Arrived(1, 11, -kMaxPriority);
  older.share = 1'000'000;
  EXPECT_TRUE(Before(older, old, 1000, 1));
}

INSTANTIATE_TEST_SUITE_P(Policy, EveryOrderTest,
                         testing::Values(Order::kFcfs, Order::kSrpf, Order::kFair));

TEST(PolicyTest, SrpfPrefersTheShortUntilTheLongIsOld) {
  const Policy policy = Of(Order::kSrpf);
  const auto before = [&](const Standing& a, uint64_t rows_a, const Standing& b, uint64_t rows_b) {
    return policy.RankOf(a, rows_a, kStart) < policy.RankOf(b, rows_b, kStart);
  };
  EXPECT_TRUE(before(Arrived(2, 0), 10, Arrived(1, 0), 100));
  // At half of max_wait its rows count half.
  EXPECT_TRUE(before(Arrived(2, 0), 49, Arrived(1, 5), 100));
  EXPECT_FALSE(before(Arrived(2, 0), 51, Arrived(1, 5), 100));
}

TEST(PolicyTest, FairPrefersTheSmallerShare) {
  const Policy policy = Of(Order::kFair);
  Standing greedy = Arrived(1, 5);
  greedy.share = 100;
  Standing modest = Arrived(2, 1);
  modest.share = 99;
  EXPECT_TRUE(policy.RankOf(modest, 1000, kStart) < policy.RankOf(greedy, 1, kStart));
}

TEST(PolicyTest, MaxWaitZeroIsFirstComeWhateverThePriority) {
  const Policy policy({.order = Order::kSrpf, .max_wait = seconds(0)});
  EXPECT_TRUE(policy.RankOf(Arrived(1, 0, -5), 100, kStart) <
              policy.RankOf(Arrived(2, 0, 5), 1, kStart));
}

}  // namespace
}  // namespace denoise
