#include "server/engine/wait_estimate.h"

#include <gtest/gtest.h>

#include "tests/unit/rpc/test_model.h"

namespace denoise {
namespace {

TEST(WaitEstimateTest, IsRowsOverTheBestSpeed) {
  ModelInfo model = TestModel();  // 100 rows/s at batch 1, 200 at batch 8
  EXPECT_DOUBLE_EQ(RowsPerSecond(model), 200);
  EXPECT_EQ(TimeFor(model, 300), absl::Milliseconds(1500));
  model.replicas = 2;
  EXPECT_EQ(TimeFor(model, 300), absl::Milliseconds(750));
}

TEST(WaitEstimateTest, IsZeroWhereNothingWasMeasured) {
  ModelInfo model = TestModel();
  model.denoiser_seconds.clear();
  EXPECT_EQ(RowsPerSecond(model), 0);
  EXPECT_EQ(TimeFor(model, 300), absl::ZeroDuration());
  EXPECT_EQ(RetryDelay(model, 300, 10), absl::Milliseconds(100));
}

TEST(WaitEstimateTest, LeastTimeIsThatOfTheLongestChainOrOfAllRows) {
  ModelInfo model;
  model.batch_sizes = {1, 8};
  model.denoiser_seconds = {0.01, 0.04};
  EXPECT_EQ(LeastTimeFor(model, {.calls = 100, .rows = 100}), absl::Seconds(1));
  EXPECT_EQ(LeastTimeFor(model, {.calls = 100, .rows = 100, .rows_before = 300}), absl::Seconds(2));
  EXPECT_EQ(CallsIn(model, absl::Seconds(1)), 25u);
  model.denoiser_seconds.clear();
  EXPECT_EQ(LeastTimeFor(model, {.calls = 100, .rows = 100}), absl::ZeroDuration());
  EXPECT_EQ(CallsIn(model, absl::Seconds(1)), 0u);
}

TEST(WaitEstimateTest, RetryDelayIsWhenOneOfTheRequestsLeaves) {
  const ModelInfo model = TestModel();
  EXPECT_EQ(RetryDelay(model, 2000, 10), absl::Seconds(1));
  EXPECT_EQ(RetryDelay(model, 1, 10), absl::Milliseconds(100));
  EXPECT_EQ(RetryDelay(model, 1'000'000, 1), absl::Seconds(30));
  EXPECT_EQ(RetryDelay(model, 2000, 0), absl::Seconds(10));
}

}  // namespace
}  // namespace denoise
