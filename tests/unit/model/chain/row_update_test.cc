#include "server/model/chain/row_update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Runs a row that needs no scratch.
bool Update(const Row& row, int num_registers, int64_t n, const RowInputs& in,
            std::vector<float>& registers, const RowOutputs& out = {}) {
  return UpdateRow(row, num_registers, n, in, registers.data(), out, nullptr);
}

// What a row reads, [n] or [2n] values each.
struct Inputs {
  bool guided = false;
  double guidance = 1;
  double rescale = 0;
  std::vector<float> out, out_null, z, known, mask, blend_z;
};

// Of n values of double.
double StandardDeviation(const std::vector<double>& values) {
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / values.size();
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (values.size() - 1));
}

// As torch.quantile, its rank in float32 too.
double QuantileOf(std::vector<double> values, double ratio) {
  std::sort(values.begin(), values.end());
  const double rank = static_cast<float>(ratio) * static_cast<float>(values.size() - 1);
  const auto below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (rank - below) * (values[above] - values[below]);
}

// A row's meaning as it stands in table.h and executor.h, in double precision.
struct Expected {
  std::vector<std::vector<double>> registers;  // [num_registers][n]
  std::vector<double> x0;
  std::vector<double> magnitude;  // the size of what was summed, by which errors are to be measured
};

Expected Reference(const Row& row, const std::vector<std::vector<double>>& registers,
                   const Inputs& in) {
  const size_t n = registers[0].size();
  std::vector<double> out(in.out.begin(), in.out.begin() + n);
  if (in.guided) {
    const double spread = StandardDeviation(out);
    for (size_t i = 0; i < n; ++i) {
      out[i] = in.out_null[i] + in.guidance * (out[i] - in.out_null[i]);
    }
    if (in.rescale > 0 && n > 1) {
      const double factor = in.rescale * spread / StandardDeviation(out) + 1 - in.rescale;
      for (double& value : out) value *= factor;
    }
  }

  Expected expected;
  std::vector<double> magnitudes;
  for (size_t i = 0; i < n; ++i) {
    const double x0 = row.p * registers[0][i] + row.q * out[i];
    expected.x0.push_back(x0);
    expected.magnitude.push_back(std::abs(row.p * registers[0][i]) + std::abs(row.q * out[i]));
    magnitudes.push_back(std::abs(x0));
  }
  if (row.threshold) {
    const double quantile = QuantileOf(magnitudes, row.threshold_ratio);
    const double s = std::min(std::max(quantile, 1.0), row.threshold_max);
    for (double& x0 : expected.x0) x0 = std::min(std::max(x0, -s), s) / s;
    // An error of s is one of every value.
    const double largest = *std::max_element(expected.magnitude.begin(), expected.magnitude.end());
    expected.magnitude.assign(n, largest);
  } else if (row.clip) {
    for (double& x0 : expected.x0) x0 = std::min(std::max(x0, -row.clip_range), row.clip_range);
  }

  expected.registers.resize(registers.size());
  for (size_t i = 0; i < n; ++i) {
    std::vector<double> columns(kNumColumns, 0.0);
    for (size_t r = 0; r < registers.size(); ++r) columns[r] = registers[r][i];
    columns[kColOut] = out[i];
    columns[kColX0] = expected.x0[i];
    double scale = 1;
    if (row.variance == RowVariance::kLearned) scale = std::exp(0.5 * in.out[n + i]);
    if (row.variance == RowVariance::kLearnedRange) {
      const double f = (in.out[n + i] + 1.0) / 2;
      scale = std::exp(0.5 * (f * row.log_var_max + (1 - f) * row.log_var_min));
    }
    columns[kColZ] = in.z[i] * scale;
    for (size_t r = 0; r < registers.size(); ++r) {
      double sum = 0;
      for (int c = 0; c < kNumColumns; ++c) {
        sum += row.w[r][c] * columns[c];
        expected.magnitude[i] += std::abs(row.w[r][c] * columns[c]);
      }
      expected.registers[r].push_back(sum);
    }
    if (row.blend != Blend::kNone) {
      double kept = in.known[i];
      if (row.blend != Blend::kKnown)
        kept = row.blend_alpha * kept + row.blend_sigma * in.blend_z[i];
      double& x = expected.registers[0].back();
      x = in.mask[i] * kept + (1.0 - in.mask[i]) * x;
    }
  }
  return expected;
}

// Everything that a row reads and writes, random.
class RandomRow {
 public:
  RandomRow(int seed, int64_t n) : random_(seed), n_(n), num_registers_(1 + seed % kMaxRegisters) {
    row_.p = 2 * Normal();
    row_.q = Normal();
    row_.clip = Coin();
    row_.clip_range = 0.5;
    row_.threshold = Coin();
    row_.threshold_ratio = Coin() ? 0.995 : 0.6;
    row_.threshold_max = Coin() ? 1.5 : 10;
    row_.noise = Coin();
    if (row_.noise) row_.variance = static_cast<RowVariance>(random_() % 3);
    row_.log_var_min = -3;
    row_.log_var_max = -1;
    row_.blend = static_cast<Blend>(random_() % 4);
    row_.blend_alpha = 0.8;
    row_.blend_sigma = 0.6;
    for (int r = 0; r < num_registers_; ++r) {
      for (int c = 0; c < kNumColumns; ++c) {
        const bool there = c < kMaxRegisters ? c < num_registers_ : c != kColZ || row_.noise;
        if (there && Coin()) row_.w[r][c] = Normal();
      }
    }
    in_.guided = Coin();
    in_.guidance = 2.5;
    if (Coin()) in_.rescale = 0.7f;
    registers_ = Normals(num_registers_ * n);
    in_.out = Normals(2 * n);
    in_.out_null = Normals(2 * n);
    in_.z = Normals(n);
    in_.known = Normals(n);
    in_.mask = Normals(n);
    for (float& m : in_.mask) m = std::min(std::max(m + 0.5f, 0.0f), 1.0f);
    in_.blend_z = Normals(n);
  }

  void Check() {
    std::vector<std::vector<double>> before;
    for (int r = 0; r < num_registers_; ++r) {
      const auto begin = registers_.begin() + r * n_;
      before.emplace_back(begin, begin + n_);
    }
    const Expected expected = Reference(row_, before, in_);

    // What a row does not need is not given to it.
    RowInputs in = {.out = in_.out.data()};
    if (in_.guided) {
      in.out_null = in_.out_null.data();
      in.guidance = static_cast<float>(in_.guidance);
      in.guidance_rescale = static_cast<float>(in_.rescale);
    }
    if (row_.noise) in.z = in_.z.data();
    if (row_.blend != Blend::kNone) {
      in.known = in_.known.data();
      in.mask = in_.mask.data();
      if (row_.blend != Blend::kKnown) in.blend_z = in_.blend_z.data();
    }
    std::vector<float> x(n_), x0(n_), scratch(row_.threshold ? n_ : 0);
    ASSERT_TRUE(UpdateRow(row_, num_registers_, n_, in, registers_.data(),
                          {.x = x.data(), .x0 = x0.data()}, scratch.data()));
    for (int64_t i = 0; i < n_; ++i) {
      const double error = 2e-6 * (1 + expected.magnitude[i]);
      for (int r = 0; r < num_registers_; ++r) {
        ASSERT_NEAR(registers_[r * n_ + i], expected.registers[r][i], error) << r << ", " << i;
      }
      ASSERT_NEAR(x0[i], expected.x0[i], error) << i;
      ASSERT_EQ(x[i], registers_[i]) << i;
    }
  }

 private:
  float Normal() { return std::normal_distribution<float>()(random_); }
  bool Coin() { return random_() % 2 == 0; }
  std::vector<float> Normals(int64_t n) {
    std::vector<float> values(n);
    for (float& value : values) value = Normal();
    return values;
  }

  std::mt19937 random_;
  const int64_t n_;
  const int num_registers_;
  Row row_;
  Inputs in_;
  std::vector<float> registers_;
};

// Sizes within a block, of several, and that are no multiple of any vector.
class RowUpdateSizesTest : public ::testing::TestWithParam<int64_t> {};

TEST_P(RowUpdateSizesTest, MeansWhatTheTableSays) {
  for (int seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    RandomRow(seed, GetParam()).Check();
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, RowUpdateSizesTest, ::testing::Values(1, 7, 784, 1024, 2500));

TEST(RowUpdateTest, AZeroWeightLeavesItsColumnOut) {
  std::vector<float> registers = {1, 2, kNan, kNan};
  const std::vector<float> nans = {kNan, kNan};
  Row row;
  row.p = 1;
  row.q = 0;  // x̂0 without `out`
  row.w[0][kColX0] = 0.5;
  row.w[1][kColX] = 3;
  const RowInputs in = {.out = nans.data(), .z = nans.data()};
  EXPECT_TRUE(Update(row, 2, 2, in, registers));
  EXPECT_THAT(registers, ElementsAre(0.5, 1, 3, 6));
}

TEST(RowUpdateTest, RegistersChangeAllAtOnce) {
  std::vector<float> registers = {1, 2, 3, 4};
  Row row;
  row.denoise = false;
  row.w[0][kColH1] = 1;
  row.w[1][kColX] = 1;
  EXPECT_TRUE(Update(row, 2, 2, {}, registers));
  EXPECT_THAT(registers, ElementsAre(3, 4, 1, 2));
}

TEST(RowUpdateTest, ARegisterWithoutWeightsBecomesZero) {
  std::vector<float> registers = {1, kNan};
  Row row;
  row.denoise = false;
  EXPECT_TRUE(Update(row, 1, 2, {}, registers));
  EXPECT_THAT(registers, Each(0.0f));
}

TEST(RowUpdateTest, TheForwardProcessHasNoOutput) {
  std::vector<float> registers = {1, -2};
  const std::vector<float> z = {10, 20};
  Row row;
  row.denoise = false;
  row.noise = true;
  row.w[0][kColX] = 0.5;
  row.w[0][kColZ] = 0.25;
  std::vector<float> x(2);
  EXPECT_TRUE(Update(row, 1, 2, {.z = z.data()}, registers, {.x = x.data()}));
  EXPECT_THAT(x, ElementsAre(3, 4));
}

TEST(RowUpdateTest, WhatIsNotFiniteIsTold) {
  for (const float bad : {kNan, std::numeric_limits<float>::infinity(), -3e38f}) {
    // In the last of several blocks, in a register that is not x, and past clipping.
    std::vector<float> registers(2 * 2500, 1.0f);
    std::vector<float> out(2500, 0.0f);
    out[2499] = bad;
    Row row;
    row.p = 1;
    row.w[0][kColX] = 1;
    row.w[1][kColOut] = 2;
    EXPECT_FALSE(Update(row, 2, 2500, {.out = out.data()}, registers)) << bad;
    EXPECT_EQ(registers[2499], 1);
  }
}

TEST(RowUpdateTest, ClippingDoesNotHideNan) {
  std::vector<float> registers = {1};
  const std::vector<float> out = {kNan};
  Row row;
  row.p = 1;
  row.q = 1;
  row.clip = true;
  row.w[0][kColX0] = 1;
  EXPECT_FALSE(Update(row, 1, 1, {.out = out.data()}, registers));
}

}  // namespace
}  // namespace denoise
