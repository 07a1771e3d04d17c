#include "server/model/tuning/tuning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "tests/unit/engine/fake_clock.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;

TEST(PlansForTest, RunFromOneThreadEachToOneReplicaOfAll) {
  EXPECT_THAT(PlansFor(TuneFor::kThroughput, 8, 0, 0),
              ElementsAre(Plan{8, 1}, Plan{4, 2}, Plan{2, 4}, Plan{1, 8}));
  EXPECT_THAT(PlansFor(TuneFor::kLatency, 4, 0, 0),
              ElementsAre(Plan{1, 4}, Plan{2, 2}, Plan{4, 1}));
  EXPECT_THAT(PlansFor(TuneFor::kThroughput, 2, 0, 0), ElementsAre(Plan{2, 1}, Plan{1, 2}));
  EXPECT_THAT(PlansFor(TuneFor::kLatency, 1, 0, 0), ElementsAre(Plan{1, 1}));
  EXPECT_THAT(PlansFor(TuneFor::kThroughput, 7, 0, 0), ElementsAre(Plan{7, 1}, Plan{1, 7}));
}

TEST(PlansForTest, AreAFewOnManyCores) {
  const std::vector<Plan> plans = PlansFor(TuneFor::kThroughput, 64, 0, 0);
  EXPECT_LE(plans.size(), 5u);
  EXPECT_EQ(plans.front(), (Plan{64, 1}));
  EXPECT_EQ(plans.back(), (Plan{1, 64}));
  for (const Plan& plan : plans) EXPECT_EQ(plan.replicas * plan.threads, 64);
}

TEST(PlansForTest, HeedWhatIsFixed) {
  EXPECT_THAT(PlansFor(TuneFor::kThroughput, 8, 2, 0), ElementsAre(Plan{2, 4}));
  EXPECT_THAT(PlansFor(TuneFor::kThroughput, 8, 0, 4), ElementsAre(Plan{2, 4}));
  EXPECT_THAT(PlansFor(TuneFor::kThroughput, 2, 3, 1), ElementsAre(Plan{3, 1}));
  EXPECT_THAT(PlansFor(TuneFor::kLatency, 2, 3, 0), ElementsAre(Plan{3, 1}));
  EXPECT_THAT(PlansFor(TuneFor::kThroughput, 2, 0, 8), ElementsAre(Plan{1, 8}));
}

TEST(TrialSizesTest, AreAroundSaturationOrTheSmallest) {
  const std::vector<int64_t> all = {1, 2, 3, 4, 6, 8, 12, 16, 32};
  EXPECT_THAT(TrialSizes(TuneFor::kThroughput, all, 8), ElementsAre(8, 4, 16));
  EXPECT_THAT(TrialSizes(TuneFor::kThroughput, all, 1), ElementsAre(1, 2));
  EXPECT_THAT(TrialSizes(TuneFor::kThroughput, {3, 7}, 16), ElementsAre(7));
  EXPECT_THAT(TrialSizes(TuneFor::kThroughput, {12}, 4), ElementsAre(12));
  EXPECT_THAT(TrialSizes(TuneFor::kLatency, all, 8), ElementsAre(1));
}

// Ways whose speed is known, on a clock that moves by what they cost.
class CompareTest : public ::testing::Test {
 protected:
  // Adds a way: `layout` names it.
  void Add(const std::string& layout, double rows_per_second, int64_t batch_size = 8,
           int replicas = 2) {
    TuningResult way;
    way.layout = layout;
    way.replicas = replicas;
    way.batch_size = batch_size;
    ways_.push_back(way);
    speeds_[Key(way)] = rows_per_second;
  }

  static std::string Key(const TuningResult& way) {
    return way.layout + " " + std::to_string(way.replicas) + " " + std::to_string(way.batch_size);
  }

  int Run(double seconds) {
    return Compare(
        seconds, clock_,
        [this](const TuningResult& way, double slice) -> absl::StatusOr<Slice> {
          const std::string key = Key(way);
          spent_[key] += slice;
          ++slices_[key];
          last_ = key;
          if (speeds_[key] <= 0) return absl::ResourceExhaustedError("memory ran out");
          const double speed = speeds_[key] * disturb_();
          const double call = static_cast<double>(way.batch_size) / speed;
          clock_.Advance(std::chrono::nanoseconds(
              static_cast<int64_t>(1e9 * std::max({slice, call, least_seconds_}))));
          return Slice{speed, call};
        },
        &ways_);
  }

  std::vector<TuningResult> ways_;
  std::map<std::string, double> speeds_;
  std::map<std::string, double> spent_;
  std::map<std::string, int> slices_;
  std::string last_;
  std::function<double()> disturb_ = [] { return 1.0; };
  double least_seconds_ = 0;
  FakeClock clock_;
};

TEST_F(CompareTest, ChoosesTheQuickestAndSaysWhatEachMeasured) {
  Add("slow", 100);
  Add("quick", 200, 16);
  Add("middling", 150);
  ASSERT_EQ(Run(3), 1);
  ASSERT_EQ(ways_.size(), 3u);
  EXPECT_TRUE(ways_[1].chosen);
  EXPECT_FALSE(ways_[0].chosen || ways_[2].chosen);
  EXPECT_DOUBLE_EQ(ways_[0].rows_per_second, 100);
  EXPECT_DOUBLE_EQ(ways_[1].rows_per_second, 200);
  EXPECT_DOUBLE_EQ(ways_[1].call_seconds, 16 / 200.0);
}

TEST_F(CompareTest, StaysWithTheFirstUnlessAnotherIsClearlyBetter) {
  Add("usual", 100);
  Add("other", 102);
  EXPECT_EQ(Run(3), 0);
  ways_.clear();
  Add("usual", 100);
  Add("other", 105);
  EXPECT_EQ(Run(3), 1);
}

TEST_F(CompareTest, CountsTheFirstAtItsBestSize) {
  Add("usual", 60, 8);
  Add("other", 101, 8);
  Add("usual", 100, 16);
  Add("other", 80, 16);
  const int chosen = Run(3);
  EXPECT_EQ(Key(ways_[chosen]), "usual 2 16");
}

TEST_F(CompareTest, SpendsItsTimeOnTheBest) {
  Add("usual", 10000);
  for (int i = 0; i < 10; ++i) Add("hopeless " + std::to_string(i), 2000 + i);
  Add("best", 15000);
  const SteadyTime begin = clock_.Now();
  EXPECT_EQ(Key(ways_[Run(3)]), "best 2 8");
  EXPECT_LT(SecondsBetween(begin, clock_.Now()), 3.3);
  EXPECT_GT(spent_["best 2 8"], 5 * spent_["hopeless 0 2 8"]);
  EXPECT_GT(spent_["usual 2 8"], 5 * spent_["hopeless 0 2 8"]) << "it is defended to the end";
}

TEST_F(CompareTest, ChoosesAlikeInSpiteOfNoise) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    std::normal_distribution<double> noise(1, 0.02);
    disturb_ = [&] { return std::max(0.1, noise(random)); };
    ways_.clear();
    Add("usual", 1000);
    Add("as good", 1000);
    Add("worse", 800);
    ASSERT_EQ(Key(ways_[Run(3)]), "usual 2 8") << "seed " << seed;
    ways_.clear();
    Add("usual", 1000);
    Add("better", 1100);
    Add("worse", 800);
    ASSERT_EQ(Key(ways_[Run(3)]), "better 2 8") << "seed " << seed;
  }
}

TEST_F(CompareTest, AnInterruptionMeetsAllAlike) {
  // The machine is twice as slow for a third of the time.
  disturb_ = [&] {
    const double now = SecondsBetween(SteadyTime(std::chrono::seconds(1)), clock_.Now());
    return now > 1 && now < 2 ? 0.5 : 1.0;
  };
  Add("usual", 1000);
  Add("better", 1200);
  Add("best", 1400);
  EXPECT_EQ(Key(ways_[Run(3)]), "best 2 8");
}

TEST_F(CompareTest, LeavesOutWhatFails) {
  Add("usual", 100);
  Add("too large", 0, 64);
  ASSERT_EQ(Run(3), 0);
  EXPECT_EQ(ways_.size(), 1u);
  EXPECT_EQ(slices_["too large 2 64"], 1);
  ways_.clear();
  Add("too large", 0, 64);
  EXPECT_EQ(Run(3), -1);
  EXPECT_TRUE(ways_.empty());
}

TEST_F(CompareTest, TakesAnotherWhereTheFirstFails) {
  Add("usual", 0);
  Add("other", 100);
  ASSERT_EQ(Run(3), 0);
  EXPECT_EQ(ways_[0].layout, "other");
}

TEST_F(CompareTest, ASlowModelIsMeasuredAsFarAsTimeGoes) {
  least_seconds_ = 1.5;
  Add("usual", 100);
  Add("other", 120);
  Add("never reached", 900);
  const SteadyTime begin = clock_.Now();
  EXPECT_EQ(Key(ways_[Run(3)]), "other 2 8");
  EXPECT_EQ(ways_.size(), 2u);
  EXPECT_LE(SecondsBetween(begin, clock_.Now()), 3 + 1.5);
}

TEST_F(CompareTest, WithoutTimeThereIsNothing) {
  Add("usual", 100);
  EXPECT_EQ(Run(0), -1);
  EXPECT_TRUE(ways_.empty());
}

}  // namespace
}  // namespace denoise
