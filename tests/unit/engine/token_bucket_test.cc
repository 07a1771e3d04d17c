#include "server/engine/token_bucket.h"

#include <chrono>

#include "gtest/gtest.h"
#include "tests/unit/engine/fake_clock.h"

namespace denoise {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class TokenBucketTest : public testing::Test {
 protected:
  std::chrono::nanoseconds Wait(double tokens) { return bucket_.Wait(tokens, kRate, clock_.Now()); }
  bool Take(double tokens) {
    if (Wait(tokens).count() > 0) return false;
    bucket_.Take(tokens, kRate, clock_.Now());
    return true;
  }

  static constexpr TokenBucket::Rate kRate = {.per_second = 10, .burst = 20};
  FakeClock clock_;
  TokenBucket bucket_;
};

TEST_F(TokenBucketTest, ABurstThenTheRate) {
  EXPECT_TRUE(Take(20));
  EXPECT_EQ(Wait(1), milliseconds(100));
  EXPECT_EQ(Wait(5), milliseconds(500));
  clock_.Advance(milliseconds(100));
  EXPECT_TRUE(Take(1));
  EXPECT_FALSE(Take(1));
  // Tokens of ten seconds, at ten a second.
  int taken = 0;
  for (int i = 0; i < 1000; ++i) {
    clock_.Advance(milliseconds(10));
    taken += Take(1) ? 1 : 0;
  }
  EXPECT_EQ(taken, 100);
}

TEST_F(TokenBucketTest, NothingIsSavedUpBeyondTheBurst) {
  clock_.Advance(seconds(1000));
  EXPECT_TRUE(Take(20));
  EXPECT_FALSE(Take(1));
}

TEST_F(TokenBucketTest, WhoeverWaitsAsToldIsLetThrough) {
  Take(17);
  for (const double tokens : {3.0, 7.0, 1.0, 19.0, 4.0}) {
    clock_.Advance(Wait(tokens));
    EXPECT_TRUE(Take(tokens)) << tokens;
  }
}

TEST_F(TokenBucketTest, MoreThanTheBurstIsPaidOffAfterwards) {
  Take(1);
  EXPECT_EQ(Wait(100), milliseconds(100)) << "wants a full bucket";
  clock_.Advance(milliseconds(100));
  EXPECT_TRUE(Take(100));
  EXPECT_EQ(Wait(1), milliseconds(8100)) << "80 owed, and one more";
}

TEST_F(TokenBucketTest, NothingCostsNothingAndNoRateIsNoBound) {
  Take(100);
  EXPECT_EQ(Wait(0), milliseconds(0));
  const TokenBucket::Rate unbounded;
  EXPECT_EQ(bucket_.Wait(1e9, unbounded, clock_.Now()), milliseconds(0));
  const SteadyTime before = bucket_.full_at();
  bucket_.Take(1e9, unbounded, clock_.Now());
  EXPECT_EQ(bucket_.full_at(), before);
}

TEST_F(TokenBucketTest, NoDebtOverflows) {
  bucket_.Take(1e18, {.per_second = 1e-9, .burst = 1}, clock_.Now());
  EXPECT_GT(Wait(1), std::chrono::hours(24));
}

}  // namespace
}  // namespace denoise
