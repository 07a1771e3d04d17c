#include "server/model/chain/sample_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/model/served_test_model.h"

namespace denoise {
namespace {

float QuantileOf(float ratio, std::vector<float> values) {
  return Quantile(ratio, values.size(), values.data());
}

TEST(QuantileTest, IsLinearBetweenTheNearest) {
  EXPECT_EQ(QuantileOf(0, {3, 1, 2, 5}), 1);
  EXPECT_EQ(QuantileOf(1, {3, 1, 2, 5}), 5);
  EXPECT_EQ(QuantileOf(0.5, {3, 1, 2, 5}), 2.5);
  EXPECT_EQ(QuantileOf(0.75, {3, 1, 2, 5, 9}), 5);
  EXPECT_EQ(QuantileOf(0.875, {3, 1, 2, 5, 9}), 7);
  EXPECT_EQ(QuantileOf(0.995f, {7}), 7);
  EXPECT_EQ(QuantileOf(0.3f, {4, 4, 4}), 4);
}

TEST(QuantileTest, OfNanIsNanAndOfInfinityIsNot) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isnan(QuantileOf(0, {1, 2, std::numeric_limits<float>::quiet_NaN()})));
  EXPECT_EQ(QuantileOf(0.5, {1, 2, kInfinity}), 2);
  EXPECT_EQ(QuantileOf(1, {1, 2, kInfinity}), kInfinity);
}

// Against numbers that Python's torch.quantile has written.
TEST(QuantileTest, IsThatOfTorch) {
  std::ifstream file(TestModelFolder("quantiles.txt"));
  std::string line;
  int lines = 0;
  while (std::getline(file, line)) {
    ++lines;
    SCOPED_TRACE(line.substr(0, 40));
    std::istringstream words(line);
    double ratio, expected, value;
    ASSERT_TRUE(words >> ratio >> expected);
    std::vector<float> values;
    while (words >> value) values.push_back(static_cast<float>(value));
    EXPECT_FLOAT_EQ(QuantileOf(static_cast<float>(ratio), values), expected);
  }
  EXPECT_EQ(lines, 20);
}

std::vector<float> Normals(int seed, int64_t n, float mean, float deviation) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

float Guided(float out, float out_null, float guidance) {
  return out_null + guidance * (out - out_null);
}

// Sums of squares about the mean, in the order that the code promises, value by value.
double Squares(const std::vector<float>& values) {
  const auto sum = [&](double centre, bool square) {
    double lanes[16] = {};
    for (size_t i = 0; i < values.size(); ++i) {
      const double value = values[i] - centre;
      const volatile double term = square ? value * value : value;  // never fused with the addition
      lanes[i % 16] += term;
    }
    double total = 0;
    for (const double lane : lanes) total += lane;
    return total;
  };
  return sum(sum(0, false) / values.size(), true);
}

TEST(GuidanceRescalingTest, HasTheSameBitsWhateverTheVectors) {
  for (const int64_t n : {2, 17, 784, 1024, 2501}) {
    const std::vector<float> out = Normals(1, n, 0.3f, 1), out_null = Normals(2, n, 0, 0.8f);
    std::vector<float> guided(n);
    for (int64_t i = 0; i < n; ++i) guided[i] = Guided(out[i], out_null[i], 5);
    const double ratio = std::sqrt(Squares(out) / Squares(guided));
    EXPECT_EQ(GuidanceRescaling(out.data(), out_null.data(), 5, 1, n), static_cast<float>(ratio));
    EXPECT_FLOAT_EQ(GuidanceRescaling(out.data(), out_null.data(), 5, 0.25, n),
                    0.25 * ratio + 0.75);
  }
}

TEST(GuidanceRescalingTest, KeepsItsDigitsUnderALargeMean) {
  // Squares of the values themselves would leave nothing of a spread of 1e-4 about 1000.
  const int64_t n = 4096;
  std::vector<float> out(n), out_null(n, 1000.0f);
  for (int64_t i = 0; i < n; ++i) out[i] = 1000.0f + (i % 2 == 0 ? 1 : -1) * 0x1p-13f;
  EXPECT_FLOAT_EQ(GuidanceRescaling(out.data(), out_null.data(), 4, 1, n), 0.25);
}

TEST(GuidanceRescalingTest, IsOneWhereThereIsNoSpread) {
  const std::vector<float> out(2000, 0.1f), out_null(2000, 0.3f);
  EXPECT_EQ(GuidanceRescaling(out.data(), out_null.data(), 3, 0.7f, 2000), 1);
  EXPECT_EQ(GuidanceRescaling(out.data(), out_null.data(), 3, 0.7f, 1), 1);
}

}  // namespace
}  // namespace denoise
