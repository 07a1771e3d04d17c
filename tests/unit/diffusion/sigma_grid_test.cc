#include "server/diffusion/sigma_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "server/diffusion/beta_quantile.h"
#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr Sigmas kCurves[] = {Sigmas::kKarras, Sigmas::kExponential, Sigmas::kBeta};

class SigmaGridTest : public ::testing::Test {
 protected:
  std::vector<TimeAndSigma> Make(const SigmaGridOptions& options) {
    auto grid = MakeSigmaGrid(schedule_, options);
    EXPECT_TRUE(grid.ok()) << grid.status();
    return grid.value_or(std::vector<TimeAndSigma>{});
  }
  double SigmaAt(int64_t t) { return schedule_.sigma(t) / schedule_.alpha(t); }

  NoiseSchedule schedule_{MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02)};
};

TEST_F(SigmaGridTest, ScheduleIsTheModelsLevels) {
  const auto grid = Make({.steps = 5});  // Times 999, 749.25, 499.5, 249.75, 0.
  ASSERT_EQ(grid.size(), 5u);
  EXPECT_EQ(grid[0].time, 999);
  EXPECT_EQ(grid[1].time, 749.25);
  EXPECT_NEAR(grid[0].sigma, SigmaAt(999), 1e-5 * SigmaAt(999));
  EXPECT_NEAR(grid[1].sigma, 0.75 * SigmaAt(749) + 0.25 * SigmaAt(750), 1e-5 * SigmaAt(749));
  EXPECT_NEAR(grid[4].sigma, SigmaAt(0), 1e-6);
  EXPECT_NEAR(FirstSigma(schedule_), SigmaAt(0), 1e-6);
}

TEST_F(SigmaGridTest, CurvesInClosedForm) {
  const double max = SigmaAt(999);
  const double min = SigmaAt(0);
  const auto near = [](double expected) {
    return ::testing::DoubleNear(expected, 1e-5 * expected);
  };
  const auto root = [](double sigma) { return std::pow(sigma, 1.0 / 7); };
  EXPECT_THAT(Make({.steps = 3, .sigmas = Sigmas::kKarras})[1].sigma,
              near(std::pow((root(max) + root(min)) / 2, 7)));
  EXPECT_THAT(Make({.steps = 3, .sigmas = Sigmas::kExponential})[1].sigma,
              near(std::sqrt(max * min)));
  EXPECT_THAT(Make({.steps = 3, .sigmas = Sigmas::kBeta})[1].sigma, near((max + min) / 2));
}

TEST_F(SigmaGridTest, CurvesGoDownBetweenTheirBounds) {
  for (const TimeGrid grid : {TimeGrid::kFractional, TimeGrid::kIntervals}) {
    for (const Sigmas curve : kCurves) {
      const auto points = Make({.grid = grid, .steps = 40, .sigmas = curve});
      EXPECT_NEAR(points.front().sigma, SigmaAt(999), 1e-5 * SigmaAt(999));
      EXPECT_NEAR(points.back().sigma, SigmaAt(0), 1e-6);
      for (size_t i = 1; i < points.size(); ++i) {
        EXPECT_LT(points[i].sigma, points[i - 1].sigma);
        EXPECT_LE(points[i].time, points[i - 1].time);
      }
      const auto bounded =
          Make({.grid = grid, .steps = 40, .sigmas = curve, .sigma_min = 0.1, .sigma_max = 20.0});
      EXPECT_FLOAT_EQ(bounded.front().sigma, 20);
      EXPECT_FLOAT_EQ(bounded.back().sigma, 0.1);
    }
  }
}

TEST_F(SigmaGridTest, TimesAreWhereTheScheduleHasTheSigma) {
  for (const Sigmas curve : kCurves) {
    for (const auto& [time, sigma] : Make({.steps = 40, .sigmas = curve})) {
      const auto below = std::min<int64_t>(static_cast<int64_t>(time), 998);
      const double weight = time - static_cast<double>(below);
      const double log_sigma =
          (1 - weight) * std::log(SigmaAt(below)) + weight * std::log(SigmaAt(below + 1));
      EXPECT_NEAR(log_sigma, std::log(sigma), 1e-4);
    }
    for (const auto& [time, sigma] :
         Make({.grid = TimeGrid::kIntervals, .steps = 40, .sigmas = curve})) {
      EXPECT_EQ(time, std::floor(time));
    }
  }
}

TEST_F(SigmaGridTest, RoundsOrCutsKarrasTimes) {
  const auto exact = Make({.spacing = Spacing::kTrailing,
                           .steps = 20,
                           .sigmas = Sigmas::kKarras,
                           .sigma_min = 0.02,
                           .sigma_max = 100.0});
  const auto make_whole = [&](bool round) {
    return Make({.grid = TimeGrid::kIntervals,
                 .spacing = Spacing::kTrailing,
                 .steps = 20,
                 .sigmas = Sigmas::kKarras,
                 .sigma_min = 0.02,
                 .sigma_max = 100.0,
                 .round_karras_times = round});
  };
  const auto rounded = make_whole(true);
  const auto cut = make_whole(false);
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_EQ(rounded[i].time, std::nearbyint(exact[i].time));
    EXPECT_EQ(cut[i].time, std::floor(exact[i].time));
    EXPECT_EQ(rounded[i].sigma, exact[i].sigma);
  }
}

TEST_F(SigmaGridTest, RefusesBoundsInTheWrongOrder) {
  const absl::Status status =
      MakeSigmaGrid(schedule_,
                    {.steps = 5, .sigmas = Sigmas::kKarras, .sigma_min = 3.0, .sigma_max = 2.0})
          .status();
  EXPECT_EQ(FieldOf(status), "sampler.sigmas");
  EXPECT_THAT(std::string(status.message()), HasSubstr("sigma_min 3 and sigma_max 2"));
}

TEST_F(SigmaGridTest, RefusesLevelsThatCoincide) {
  const absl::Status status =
      MakeSigmaGrid(
          schedule_,
          {.steps = 5, .sigmas = Sigmas::kKarras, .sigma_min = 1.0, .sigma_max = 1.00000001})
          .status();
  EXPECT_EQ(FieldOf(status), "sampler.steps");
  EXPECT_THAT(std::string(status.message()), HasSubstr("noise levels coincide at sigma/alpha 1"));
}

TEST_F(SigmaGridTest, OneStepBeginsAtTheTop) {
  for (const Sigmas curve : kCurves) {
    const auto points = Make({.grid = TimeGrid::kIntervals, .steps = 1, .sigmas = curve});
    ASSERT_EQ(points.size(), 1u);
    EXPECT_NEAR(points[0].sigma, SigmaAt(999), 1e-5 * SigmaAt(999));
  }
}

TEST(SymmetricBetaQuantileTest, InvertsKnownDistributions) {
  for (const double p : {0.0, 1e-9, 0.01, 0.2, 0.5, 0.7, 0.999, 1.0}) {
    // Beta(½, ½) is the arcsine law, Beta(1, 1) uniform.
    const double sine = std::sin(std::numbers::pi / 2 * p);
    EXPECT_NEAR(SymmetricBetaQuantile(p, 0.5), sine * sine, 1e-12) << p;
    EXPECT_NEAR(SymmetricBetaQuantile(p, 1), p, 1e-12) << p;
    // Beta(2, 2): P = 3x² - 2x³.
    const double x = SymmetricBetaQuantile(p, 2);
    EXPECT_NEAR(3 * x * x - 2 * x * x * x, p, 1e-12) << p;
  }
}

}  // namespace
}  // namespace denoise
