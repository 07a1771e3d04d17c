#include "client/cli/load/workload.h"

#include <map>
#include <set>
#include <utility>

#include "gtest/gtest.h"

namespace denoise::cli {
namespace {

WorkloadOptions Mixed(uint64_t seed) {
  WorkloadOptions options{.steps = {{10, 3}, {50, 1}},
                          .samplers = {{Sampler::Kind::kDdim}, {Sampler::Kind::kHeun}},
                          .classes = {7, 3},
                          .slow_share = 0.25,
                          .seed = seed};
  options.request.num_samples = 2;
  return options;
}

TEST(WorkloadTest, WeightsAreKept) {
  constexpr int kCount = 20000;
  Workload workload(Mixed(1));
  std::map<uint32_t, int> steps;
  std::map<Sampler::Kind, int> samplers;
  int slow = 0;
  std::set<uint64_t> seeds;
  for (int i = 0; i < kCount; ++i) {
    const auto next = workload.Next();
    ++steps[next.request.sampler.steps];
    ++samplers[next.request.sampler.kind];
    slow += next.slow ? 1 : 0;
    seeds.insert(*next.request.seed);
    EXPECT_EQ(next.request.class_labels, (std::vector<int64_t>{i % 2 == 0 ? 7 : 3}));
    EXPECT_EQ(next.request.num_samples, 2u);
  }
  // Five standard deviations.
  EXPECT_NEAR(steps[10], 0.75 * kCount, 310);
  EXPECT_EQ(steps[10] + steps[50], kCount);
  EXPECT_NEAR(samplers[Sampler::Kind::kDdim], 0.5 * kCount, 360);
  EXPECT_NEAR(slow, 0.25 * kCount, 310);
  EXPECT_GT(seeds.size(), size_t{kCount} - 5) << "each request its own samples";
}

TEST(WorkloadTest, TheSameForTheSameSeed) {
  Workload a(Mixed(5));
  Workload b(Mixed(5));
  Workload c(Mixed(6));
  int differ = 0;
  for (int i = 0; i < 50; ++i) {
    const auto next = a.Next();
    const auto same = b.Next();
    EXPECT_EQ(next.request.seed, same.request.seed);
    EXPECT_EQ(next.request.sampler.steps, same.request.sampler.steps);
    differ += next.request.seed != c.Next().request.seed ? 1 : 0;
    const absl::Duration gap = a.NextGap(3);
    EXPECT_EQ(gap, b.NextGap(3));
    EXPECT_NE(gap, c.NextGap(3));
  }
  EXPECT_GT(differ, 40);
}

TEST(WorkloadTest, ArrivalsDoNotDependOnWhatArrives) {
  Workload a(Mixed(5));
  Workload b(Mixed(5));
  for (int i = 0; i < 10; ++i) a.Next();
  EXPECT_EQ(a.NextGap(3), b.NextGap(3));
}

TEST(WorkloadTest, GapsAreExponential) {
  constexpr int kCount = 20000;
  Workload workload(Mixed(1));
  double sum = 0;
  double squares = 0;
  int above_mean = 0;
  for (int i = 0; i < kCount; ++i) {
    const double gap = absl::ToDoubleSeconds(workload.NextGap(4));
    EXPECT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
    above_mean += gap > 0.25 ? 1 : 0;
  }
  const double mean = sum / kCount;
  EXPECT_NEAR(mean, 0.25, 0.009);
  EXPECT_NEAR(squares / kCount - mean * mean, 0.0625, 0.007) << "variance is the mean's square";
  EXPECT_NEAR(above_mean, kCount / 2.718281828, 350);
}

}  // namespace
}  // namespace denoise::cli
