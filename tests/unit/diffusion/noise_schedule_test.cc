#include "server/diffusion/noise_schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "server/diffusion/beta_schedule.h"

namespace denoise {
namespace {

TEST(NoiseScheduleTest, MultipliesUp) {
  const NoiseSchedule schedule({0.5, 0.25, 0.1});
  ASSERT_EQ(schedule.size(), 3);
  EXPECT_DOUBLE_EQ(schedule.alpha_bar(0), 0.5);
  EXPECT_DOUBLE_EQ(schedule.alpha_bar(1), 0.5 * 0.75);
  EXPECT_NEAR(schedule.alpha_bar(2), 0.5 * 0.75 * 0.9, 3e-8);
  EXPECT_DOUBLE_EQ(schedule.alpha(1), std::sqrt(0.375));
  EXPECT_DOUBLE_EQ(schedule.sigma(1), std::sqrt(0.625));
  EXPECT_EQ(schedule.alpha_bars().size(), 3u);
}

// The product is not rounded between factors: 2000 roundings would be off by far more than one.
TEST(NoiseScheduleTest, IsRoundedOnceATime) {
  const std::vector<double> betas(2000, static_cast<double>(0.001F));
  const NoiseSchedule schedule(betas);
  const double factor = 1.0F - 0.001F;
  for (const int t : {0, 1, 10, 500, 1999}) {
    EXPECT_EQ(schedule.alpha_bar(t),
              static_cast<double>(static_cast<float>(std::pow(factor, t + 1))))
        << t;
  }
}

TEST(NoiseScheduleTest, OfFlowIsALine) {
  const NoiseSchedule schedule = NoiseSchedule::OfFlow(4);
  EXPECT_TRUE(schedule.is_flow());
  EXPECT_FALSE(schedule.has_zero_snr());
  ASSERT_EQ(schedule.size(), 4);
  for (const int t : {0, 1, 2, 3}) {
    EXPECT_DOUBLE_EQ(schedule.sigma(t), (t + 1) / 4.0);
    EXPECT_DOUBLE_EQ(schedule.alpha(t), 1 - (t + 1) / 4.0);
    EXPECT_DOUBLE_EQ(schedule.alpha_bar(t), schedule.alpha(t) * schedule.alpha(t));
  }
  EXPECT_EQ(schedule.alpha_bars().back(), 0);
  EXPECT_FALSE(NoiseSchedule({0.5}).is_flow());
}

TEST(NoiseScheduleTest, ZeroSnrCanBeTakenAway) {
  const NoiseSchedule schedule({0.5, 0.25, 1});
  EXPECT_TRUE(schedule.has_zero_snr());
  EXPECT_EQ(schedule.alpha(2), 0);
  EXPECT_EQ(schedule.sigma(2), 1);
  const NoiseSchedule without = schedule.WithoutZeroSnr();
  EXPECT_FALSE(without.has_zero_snr());
  EXPECT_EQ(without.alpha_bar(1), schedule.alpha_bar(1));
  EXPECT_EQ(without.alpha_bar(2), std::pow(2, -24));
  const NoiseSchedule other({0.5, 0.25});
  EXPECT_EQ(other.WithoutZeroSnr().alpha_bars(), other.alpha_bars());
}

// √ᾱ becomes (√ᾱ - √ᾱ_T) √ᾱ_0/(√ᾱ_0 - √ᾱ_T).
TEST(BetaScheduleTest, RescalesToZeroSnr) {
  const std::vector<double> betas = MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02);
  const NoiseSchedule before(betas);
  const NoiseSchedule after(RescaleToZeroSnr(betas));
  EXPECT_EQ(after.alpha_bars().back(), 0);
  EXPECT_NEAR(after.alpha(0), before.alpha(0), 1e-7);
  const double last = before.alpha(999);
  for (const int t : {1, 250, 500, 998}) {
    const double expected = (before.alpha(t) - last) * before.alpha(0) / (before.alpha(0) - last);
    EXPECT_NEAR(after.alpha(t), expected, 1e-6) << t;
  }
}

// Ho et al. 2020: 1e-4 to 0.02 in 1000 steps leaves a KL to N(0, I) of about 1e-5 bits.
TEST(BetaScheduleTest, LinearAsInThePaper) {
  const std::vector<double> betas = MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02);
  ASSERT_EQ(betas.size(), 1000u);
  EXPECT_NEAR(betas.front(), 0.0001, 1e-11);
  EXPECT_NEAR(betas.back(), 0.02, 1e-9);
  EXPECT_NEAR(betas[333], 0.0001 + 0.0199 / 3, 1e-9);
  EXPECT_NEAR(NoiseSchedule(betas).alpha_bar(999), 4.0358e-5, 1e-9);
}

TEST(BetaScheduleTest, ScaledLinearIsEvenInRoots) {
  const std::vector<double> betas = MakeBetas(BetaSchedule::kScaledLinear, 1001, 0.0004, 0.0144);
  EXPECT_NEAR(betas.front(), 0.0004, 1e-10);
  EXPECT_NEAR(betas[500], 0.07 * 0.07, 1e-9);
  EXPECT_NEAR(betas.back(), 0.0144, 1e-9);
}

TEST(BetaScheduleTest, CosineIsACosineUpToItsCap) {
  const std::vector<double> betas = MakeBetas(BetaSchedule::kSquaredCosCapV2, 1000, 0, 0);
  const NoiseSchedule schedule(betas);
  const auto f = [](double u) {
    return std::pow(std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2), 2);
  };
  for (const int t : {0, 1, 10, 250, 500, 900, 990}) {
    const double expected = f((t + 1) / 1000.0) / f(0);
    EXPECT_NEAR(schedule.alpha_bar(t), expected, 2e-6 * expected + 1e-9) << t;
  }
  EXPECT_EQ(betas.back(), static_cast<double>(0.999f));
  EXPECT_LT(betas[998], 0.999);
}

TEST(BetaScheduleTest, SigmoidIsSymmetricAboutItsMiddle) {
  const std::vector<double> betas = MakeBetas(BetaSchedule::kSigmoid, 101, 0.1, 0.3);
  EXPECT_NEAR(betas[50], 0.2, 1e-7);
  EXPECT_NEAR(betas[0], 0.1 + 0.2 / (1 + std::exp(6.0)), 1e-7);
  EXPECT_NEAR(betas[20] + betas[80], 0.4, 1e-7);
}

TEST(BetaScheduleTest, ValuesAreFloats) {
  for (const auto schedule : {BetaSchedule::kLinear, BetaSchedule::kScaledLinear,
                              BetaSchedule::kSquaredCosCapV2, BetaSchedule::kSigmoid}) {
    for (const double beta : MakeBetas(schedule, 17, 0.001, 0.02)) {
      EXPECT_EQ(beta, static_cast<double>(static_cast<float>(beta)));
    }
  }
}

TEST(BetaScheduleTest, OneStep) {
  EXPECT_EQ(MakeBetas(BetaSchedule::kLinear, 1, 0.25, 0.5), std::vector<double>{0.25});
  EXPECT_EQ(MakeBetas(BetaSchedule::kScaledLinear, 1, 0.25, 0.5), std::vector<double>{0.25});
}

}  // namespace
}  // namespace denoise
