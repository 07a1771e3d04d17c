#include "server/diffusion/time_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int64_t> Times(Spacing spacing, int64_t train_steps, int64_t steps,
                           int64_t steps_offset = 0) {
  const auto times = WholeTimes(spacing, train_steps, steps, steps_offset);
  EXPECT_TRUE(times.ok()) << times.status();
  return times.value_or(std::vector<int64_t>{});
}

TEST(WholeTimesTest, Leading) {
  EXPECT_THAT(Times(Spacing::kLeading, 1000, 7), ElementsAre(852, 710, 568, 426, 284, 142, 0));
  EXPECT_THAT(Times(Spacing::kLeading, 1000, 4, 1), ElementsAre(751, 501, 251, 1));
  EXPECT_THAT(Times(Spacing::kLeading, 10, 10), ElementsAre(9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
}

TEST(WholeTimesTest, Trailing) {
  EXPECT_THAT(Times(Spacing::kTrailing, 1000, 7), ElementsAre(999, 856, 713, 570, 428, 285, 142));
  // 2.5 and 7.5 go to the even neighbour, 2 and 8.
  EXPECT_THAT(Times(Spacing::kTrailing, 10, 4), ElementsAre(9, 7, 4, 1));
  EXPECT_THAT(Times(Spacing::kTrailing, 10, 1), ElementsAre(9));
}

TEST(WholeTimesTest, Linspace) {
  // 832.5, 499.5 and 166.5 go to even neighbours.
  EXPECT_THAT(Times(Spacing::kLinspace, 1000, 7), ElementsAre(999, 832, 666, 500, 333, 166, 0));
  EXPECT_THAT(Times(Spacing::kLinspace, 1000, 2), ElementsAre(999, 0));
  EXPECT_THAT(Times(Spacing::kLinspace, 1000, 1), ElementsAre(0));
}

TEST(WholeTimesTest, OnlyLeadingIsOffset) {
  EXPECT_EQ(Times(Spacing::kTrailing, 1000, 50, 1), Times(Spacing::kTrailing, 1000, 50));
  EXPECT_EQ(Times(Spacing::kLinspace, 1000, 50, 1), Times(Spacing::kLinspace, 1000, 50));
}

TEST(WholeTimesTest, AreTrainedTimesInDescendingOrder) {
  for (const Spacing spacing : {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace}) {
    for (const int64_t train_steps : {1, 2, 7, 100, 333}) {
      for (int64_t steps = 1; steps <= train_steps; ++steps) {
        const std::vector<int64_t> times = Times(spacing, train_steps, steps);
        ASSERT_EQ(static_cast<int64_t>(times.size()), steps);
        ASSERT_LT(times.front(), train_steps);
        ASSERT_GE(times.back(), 0);
        for (size_t i = 1; i < times.size(); ++i) ASSERT_LT(times[i], times[i - 1]);
      }
    }
  }
}

TEST(WholeTimesTest, RefusesStepsOutOfRange) {
  for (const int64_t steps : {0, 1001}) {
    const auto times = WholeTimes(Spacing::kLeading, 1000, steps, 0);
    EXPECT_EQ(FieldOf(times.status()), "sampler.steps");
    EXPECT_THAT(std::string(times.status().message()), HasSubstr("is not in 1..1000"));
  }
}

TEST(WholeTimesTest, RefusesAnOffsetPastTheLastTime) {
  const auto times = WholeTimes(Spacing::kLeading, 1000, 1000, 1);
  EXPECT_EQ(FieldOf(times.status()), "sampler.steps");
  EXPECT_THAT(std::string(times.status().message()), HasSubstr("t = 1000"));
  EXPECT_TRUE(WholeTimes(Spacing::kLeading, 1000, 999, 1).ok());
  EXPECT_TRUE(WholeTimes(Spacing::kTrailing, 1000, 1000, 1).ok());
}

std::vector<double> GridOf(TimeGrid grid, Spacing spacing, int64_t train_steps, int64_t steps,
                           int64_t offset = 0) {
  auto times = GridTimes(grid, spacing, train_steps, steps, offset);
  EXPECT_TRUE(times.ok()) << times.status();
  return times.value_or(std::vector<double>{});
}

TEST(GridTimesTest, OfEveryGrid) {
  EXPECT_THAT(GridOf(TimeGrid::kFractional, Spacing::kLinspace, 1000, 5),
              ElementsAre(999, 749.25, 499.5, 249.75, 0));
  EXPECT_THAT(GridOf(TimeGrid::kFractional, Spacing::kLinspace, 1000, 1), ElementsAre(0));
  EXPECT_THAT(GridOf(TimeGrid::kFractional, Spacing::kLeading, 1000, 4, 1),
              ElementsAre(751, 501, 251, 1));
  // 499.5 goes to the even neighbour.
  EXPECT_THAT(GridOf(TimeGrid::kIntervals, Spacing::kLinspace, 1000, 4),
              ElementsAre(999, 749, 500, 250));
  EXPECT_THAT(GridOf(TimeGrid::kIntervals, Spacing::kLeading, 1000, 4, 1),
              ElementsAre(801, 601, 401, 201));
  for (const TimeGrid grid : {TimeGrid::kWhole, TimeGrid::kFractional, TimeGrid::kIntervals}) {
    EXPECT_THAT(GridOf(grid, Spacing::kTrailing, 1000, 4), ElementsAre(999, 749, 499, 249));
  }
}

TEST(GridTimesTest, Refusals) {
  const auto message = [](TimeGrid grid, Spacing spacing, int64_t steps, int64_t offset) {
    const absl::Status status = GridTimes(grid, spacing, 100, steps, offset).status();
    EXPECT_EQ(FieldOf(status), "sampler.steps");
    return std::string(status.message());
  };
  for (const TimeGrid grid : {TimeGrid::kFractional, TimeGrid::kIntervals}) {
    EXPECT_THAT(message(grid, Spacing::kLinspace, 0, 0), HasSubstr("0 is not in 1..100"));
    EXPECT_THAT(message(grid, Spacing::kLinspace, 101, 0), HasSubstr("101 is not in 1..100"));
  }
  EXPECT_THAT(message(TimeGrid::kIntervals, Spacing::kLeading, 99, 1),
              HasSubstr("start at t = 100, past the last trained time 99"));
  EXPECT_THAT(message(TimeGrid::kIntervals, Spacing::kLinspace, 100, 0),
              HasSubstr("would call the denoiser twice at t = "));
}

}  // namespace
}  // namespace denoise
