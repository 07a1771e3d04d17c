#include "client/cli/load/latency_histogram.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace denoise::cli {
namespace {

TEST(LatencyHistogramTest, NothingIsZero) {
  const LatencyHistogram latencies;
  EXPECT_EQ(latencies.count(), 0u);
  EXPECT_EQ(latencies.Quantile(0.99), absl::ZeroDuration());
  EXPECT_EQ(latencies.min(), absl::ZeroDuration());
  EXPECT_EQ(latencies.max(), absl::ZeroDuration());
  EXPECT_EQ(latencies.mean(), absl::ZeroDuration());
}

TEST(LatencyHistogramTest, FewMicrosecondsAreExact) {
  LatencyHistogram latencies;
  for (int i = 1; i <= 100; ++i) latencies.Record(absl::Microseconds(i));
  EXPECT_EQ(latencies.Quantile(0), absl::Microseconds(1));
  EXPECT_EQ(latencies.Quantile(0.5), absl::Microseconds(50));
  EXPECT_EQ(latencies.Quantile(0.501), absl::Microseconds(51));
  EXPECT_EQ(latencies.Quantile(0.99), absl::Microseconds(99));
  EXPECT_EQ(latencies.Quantile(1), absl::Microseconds(100));
  EXPECT_EQ(latencies.mean(), absl::Microseconds(50.5));
}

TEST(LatencyHistogramTest, QuantilesKeepTheirPrecisionOverAllMagnitudes) {
  std::mt19937_64 generator(1);
  std::vector<int64_t> values;
  LatencyHistogram latencies;
  for (int i = 0; i < 20000; ++i) {
    const double exponent = static_cast<double>(generator() % 1'000'000) / 1e6 * 11;
    values.push_back(static_cast<int64_t>(std::pow(10, exponent)));
    latencies.Record(absl::Microseconds(values.back()));
  }
  std::sort(values.begin(), values.end());
  for (const double q : {0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(values.size())));
    const auto exact = static_cast<double>(values[rank - 1]);
    const auto got = static_cast<double>(absl::ToInt64Microseconds(latencies.Quantile(q)));
    EXPECT_GE(got, exact) << q;
    EXPECT_LE(got, exact * (1 + LatencyHistogram::kPrecision)) << q;
  }
  EXPECT_EQ(latencies.min(), absl::Microseconds(values.front()));
  EXPECT_EQ(latencies.max(), absl::Microseconds(values.back()));
}

TEST(LatencyHistogramTest, TheEndsAreClamped) {
  LatencyHistogram latencies;
  latencies.Record(-absl::Seconds(1));
  latencies.Record(absl::InfiniteDuration());
  EXPECT_EQ(latencies.min(), absl::ZeroDuration());
  EXPECT_EQ(latencies.max(), LatencyHistogram::kMost);
  EXPECT_EQ(latencies.Quantile(1), LatencyHistogram::kMost);
}

TEST(LatencyHistogramTest, EveryValueLiesInTheBucketThatIsVisited) {
  for (int bit = 0; bit < 40; ++bit) {
    for (const int64_t off : {-1, 0, 1}) {
      const absl::Duration value =
          std::max(absl::ZeroDuration(), absl::Microseconds((int64_t{1} << bit) + off));
      LatencyHistogram latencies;
      latencies.Record(value);
      int visited = 0;
      latencies.ForEach([&](absl::Duration low, absl::Duration high, uint64_t count) {
        ++visited;
        EXPECT_LE(low, value);
        EXPECT_GT(high, value);
        EXPECT_LE(high - low, std::max(absl::Microseconds(1), low / 128));
        EXPECT_EQ(count, 1u);
      });
      EXPECT_EQ(visited, 1) << value;
    }
  }
}

}  // namespace
}  // namespace denoise::cli
