#include "server/model/chain/likelihood_term.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace denoise {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Takes the denoiser's answer for x_0.
Row AnswerRow() {
  Row row;
  row.q = 1;
  return row;
}

Term SomeTerm() {
  Term term;
  term.alpha = 0.8;
  term.sigma = 0.6;
  term.mean_of_x0 = 0.5;
  term.mean_of_x = 0.4;
  term.log_posterior_variance = std::log(0.01);
  term.log_model_variance = std::log(0.02);
  return term;
}

// -log p(x_0|x_1) for a mean of `mean` and a deviation of `deviation`.
Term Decoder(double deviation) {
  Term term = SomeTerm();
  term.discretised = true;
  term.mean_of_x0 = 1;
  term.mean_of_x = 0;
  term.log_model_variance = 2 * std::log(deviation);
  return term;
}

double DecoderNats(float x_0, float mean, double deviation, const ValueLevels& levels = {}) {
  const float z = 0.5f;
  TermValues values;
  EXPECT_TRUE(ReduceTerm(AnswerRow(), Decoder(deviation), levels, 1,
                         {.x_0 = &x_0, .z = &z, .out = &mean}, &values));
  return values.nats;
}

// Divergence of two normal distributions from the textbook.
double Divergence(double mean, double variance, double mean2, double variance2) {
  const double difference = mean - mean2;
  return std::log(std::sqrt(variance2 / variance)) +
         (variance + difference * difference) / (2 * variance2) - 0.5;
}

TEST(LikelihoodTermTest, IsTheDivergenceOfTheTwoSteps) {
  const std::vector<float> x_0 = {0.5f, -1}, z = {1, -0.25f}, out = {0.25f, 2};
  const Term term = SomeTerm();
  Row row = AnswerRow();
  row.p = 0.125;
  TermValues values;
  ASSERT_TRUE(
      ReduceTerm(row, term, {}, 2, {.x_0 = x_0.data(), .z = z.data(), .out = out.data()}, &values));
  double nats = 0, x_0_mse = 0, eps_mse = 0;
  std::vector<float> x_t(2);
  MakeNoisy(term, 2, x_0.data(), z.data(), x_t.data());
  for (int i = 0; i < 2; ++i) {
    EXPECT_FLOAT_EQ(x_t[i], 0.8f * x_0[i] + 0.6f * z[i]);
    const double predicted = 0.125 * x_t[i] + out[i];
    nats += Divergence(0.5 * x_0[i] + 0.4 * x_t[i], 0.01, 0.5 * predicted + 0.4 * x_t[i], 0.02);
    x_0_mse += std::pow(predicted - x_0[i], 2) / 2;
    eps_mse += std::pow((x_t[i] - 0.8 * predicted) / 0.6 - z[i], 2) / 2;
  }
  EXPECT_NEAR(values.nats, nats, 1e-9);
  EXPECT_NEAR(values.x_0_mse, x_0_mse, 1e-9);
  EXPECT_NEAR(values.eps_mse, eps_mse, 1e-6);  // x_t is float32
}

TEST(LikelihoodTermTest, ClipsThePrediction) {
  const float x_0 = 0.5f, z = 0, out = 7;
  Row row = AnswerRow();
  row.clip = true;
  row.clip_range = 1.5;
  TermValues values;
  ASSERT_TRUE(ReduceTerm(row, SomeTerm(), {}, 1, {.x_0 = &x_0, .z = &z, .out = &out}, &values));
  EXPECT_DOUBLE_EQ(values.x_0_mse, 1);
  EXPECT_NEAR(values.nats, Divergence(0, 0.01, 0.5, 0.02), 1e-12);
}

TEST(LikelihoodTermTest, TakesTheVariancesOfTheDenoiser) {
  const std::vector<float> x_0 = {0, 0}, z = {0, 0};
  // x̂0, then the variance channels.
  const std::vector<float> out = {1, 1, -0.5f, 0.25f};
  Row row = AnswerRow();
  const TermInputs in = {.x_0 = x_0.data(), .z = z.data(), .out = out.data()};
  TermValues values;
  row.variance = RowVariance::kLearned;
  ASSERT_TRUE(ReduceTerm(row, SomeTerm(), {}, 2, in, &values));
  EXPECT_NEAR(values.nats,
              Divergence(0.5, 0.01, 0, std::exp(-0.5)) + Divergence(0.5, 0.01, 0, std::exp(0.25)),
              1e-9);
  row.variance = RowVariance::kLearnedRange;
  row.log_var_min = -4;
  row.log_var_max = -2;
  ASSERT_TRUE(ReduceTerm(row, SomeTerm(), {}, 2, in, &values));
  EXPECT_NEAR(values.nats,
              Divergence(0.5, 0.01, 0, std::exp(-3.5)) + Divergence(0.5, 0.01, 0, std::exp(-2.75)),
              1e-9);
}

TEST(LikelihoodTermTest, TheBinsShareAllOfTheMass) {
  for (const ValueLevels levels : {ValueLevels{}, ValueLevels{.min = 0, .max = 1, .levels = 16}}) {
    const double width = levels.max - levels.min;
    for (const double mean : {levels.min - 0.3 * width, levels.min + 0.4 * width, levels.max}) {
      double mass = 0;
      for (int64_t level = 0; level < levels.levels; ++level) {
        const auto x_0 = static_cast<float>(levels.min + width * level / (levels.levels - 1));
        mass += std::exp(-DecoderNats(x_0, static_cast<float>(mean), 0.1 * width, levels));
      }
      EXPECT_NEAR(mass, 1, 1e-6) << mean;
    }
  }
}

TEST(LikelihoodTermTest, BinsAreAsWideAsALevelAndTheOutermostOpen) {
  // Half of the mass lies on each side of the mean, and beyond the ends with the ends.
  EXPECT_NEAR(DecoderNats(1, 1 - 1.0f / 255, 0.01), std::log(2), 1e-5);
  EXPECT_NEAR(DecoderNats(-1, -1 + 1.0f / 255, 0.01), std::log(2), 1e-5);
  EXPECT_NEAR(DecoderNats(1, 3, 0.01), 0, 1e-12);
  EXPECT_NEAR(DecoderNats(-1, -3, 0.01), 0, 1e-12);
  // An inner bin of a deviation much wider is density times width.
  const double density = 1 / (0.5 * std::sqrt(2 * M_PI)) * std::exp(-0.5 * 0.4 * 0.4);
  EXPECT_NEAR(DecoderNats(51.0f / 255, 0, 0.5), -std::log(density * 2 / 255), 1e-5);
}

TEST(LikelihoodTermTest, AnUnlikelyBinHasAFloor) {
  // Far in the tails of both sides, where Φ is 0 or 1 to all of its digits.
  EXPECT_DOUBLE_EQ(DecoderNats(51.0f / 255, -1, 0.01), -std::log(1e-12));
  EXPECT_DOUBLE_EQ(DecoderNats(-51.0f / 255, 1, 0.01), -std::log(1e-12));
  EXPECT_DOUBLE_EQ(DecoderNats(1, -1, 0.01), -std::log(1e-12));
  // The two tails are alike down to there: 6.5 deviations.
  EXPECT_NEAR(DecoderNats(0.2f, 0.2f - 0.065f, 0.01), DecoderNats(-0.2f, -0.2f + 0.065f, 0.01),
              1e-5);
  EXPECT_LT(DecoderNats(0.2f, 0.2f - 0.065f, 0.01), -std::log(1e-12));
}

TEST(LikelihoodTermTest, TellsWhatIsNotFinite) {
  const std::vector<float> x_0 = {0, 0}, z = {0, 0};
  TermValues values;
  for (const bool clip : {false, true}) {
    Row row = AnswerRow();
    row.clip = clip;
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      const std::vector<float> out = {0, bad, 0, bad};
      const TermInputs in = {.x_0 = x_0.data(), .z = z.data(), .out = out.data()};
      EXPECT_FALSE(ReduceTerm(row, SomeTerm(), {}, 2, in, &values)) << bad << clip;
      EXPECT_FALSE(ReduceTerm(row, Decoder(0.1), {}, 2, in, &values)) << bad << clip;
    }
    // Channels that nobody asks for do no harm; those that are asked for do.
    const std::vector<float> out = {0, 0, 0, kNan};
    const TermInputs in = {.x_0 = x_0.data(), .z = z.data(), .out = out.data()};
    EXPECT_TRUE(ReduceTerm(row, SomeTerm(), {}, 2, in, &values));
    row.variance = RowVariance::kLearned;
    EXPECT_FALSE(ReduceTerm(row, SomeTerm(), {}, 2, in, &values));
    EXPECT_FALSE(ReduceTerm(row, Decoder(0.1), {}, 2, in, &values));
  }
}

}  // namespace
}  // namespace denoise
