#include "server/model/row_update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// A row's meaning as it stands in table.h, in double precision, one value at a time. `magnitude`:
// the size of what was summed, by which errors are to be measured.
struct Expected {
  std::vector<double> registers;
  double x0 = 0;
  double magnitude = 0;
};

Expected Reference(const Row& row, const std::vector<double>& registers, double out,
                   double out_null, bool guided, double guidance, double variance, double z) {
  std::vector<double> columns(kNumColumns, 0.0);
  for (size_t r = 0; r < registers.size(); ++r) columns[r] = registers[r];
  if (guided) out = out_null + guidance * (out - out_null);
  columns[kColOut] = out;
  double x0 = row.p * registers[0] + row.q * out;
  if (row.clip) x0 = std::min(std::max(x0, -row.clip_range), row.clip_range);
  columns[kColX0] = x0;
  if (row.variance == RowVariance::kLearned) z *= std::exp(0.5 * variance);
  if (row.variance == RowVariance::kLearnedRange) {
    const double f = (variance + 1) / 2;
    z *= std::exp(0.5 * (f * row.log_var_max + (1 - f) * row.log_var_min));
  }
  columns[kColZ] = z;

  Expected expected;
  expected.x0 = x0;
  expected.magnitude = std::abs(row.p * registers[0]) + std::abs(row.q * out);
  for (size_t r = 0; r < registers.size(); ++r) {
    double sum = 0;
    for (int c = 0; c < kNumColumns; ++c) {
      sum += row.w[r][c] * columns[c];
      expected.magnitude += std::abs(row.w[r][c] * columns[c]);
    }
    expected.registers.push_back(sum);
  }
  return expected;
}

// Everything that a row reads and writes, random.
class RandomRow {
 public:
  RandomRow(int seed, int64_t n) : random_(seed), n_(n), num_registers_(1 + seed % 4) {
    row_.p = Normal();
    row_.q = Normal();
    row_.clip = Coin();
    row_.clip_range = 0.5;
    row_.noise = Coin();
    if (row_.noise) row_.variance = static_cast<RowVariance>(random_() % 3);
    row_.log_var_min = -3;
    row_.log_var_max = -1;
    for (int r = 0; r < num_registers_; ++r) {
      for (int c = 0; c < kNumColumns; ++c) {
        const bool there = c < kMaxRegisters ? c < num_registers_ : c != kColZ || row_.noise;
        if (there && Coin()) row_.w[r][c] = Normal();
      }
    }
    guided_ = Coin();
    guidance_ = 2.5;
    registers_ = Normals(num_registers_ * n);
    out_ = Normals(2 * n);
    out_null_ = Normals(2 * n);
    z_ = Normals(n);
  }

  void Check() {
    const std::vector<float> before = registers_;
    std::vector<float> x(n_), x0(n_);
    RowInputs in = {.out = out_.data(), .guidance = guidance_};
    if (guided_) in.out_null = out_null_.data();
    if (row_.noise) in.z = z_.data();
    ASSERT_TRUE(UpdateRow(row_, num_registers_, n_, in, registers_.data(),
                          {.x = x.data(), .x0 = x0.data()}));
    for (int64_t i = 0; i < n_; ++i) {
      std::vector<double> registers;
      for (int r = 0; r < num_registers_; ++r) registers.push_back(before[r * n_ + i]);
      const Expected expected = Reference(row_, registers, out_[i], out_null_[i], guided_,
                                          guidance_, out_[n_ + i], z_[i]);
      const double error = 2e-6 * (1 + expected.magnitude);
      for (int r = 0; r < num_registers_; ++r) {
        ASSERT_NEAR(registers_[r * n_ + i], expected.registers[r], error) << r << ", " << i;
      }
      ASSERT_NEAR(x0[i], expected.x0, error) << i;
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
  bool guided_;
  float guidance_;
  std::vector<float> registers_, out_, out_null_, z_;
};

// Sizes within a block, of several, and that are no multiple of any vector.
class RowUpdateTest : public ::testing::TestWithParam<int64_t> {};

TEST_P(RowUpdateTest, MeansWhatTheTableSays) {
  for (int seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    RandomRow(seed, GetParam()).Check();
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, RowUpdateTest, ::testing::Values(1, 7, 784, 1024, 2500));

TEST(RowUpdate, AZeroWeightLeavesItsColumnOut) {
  std::vector<float> registers = {1, 2, kNan, kNan};
  const std::vector<float> nans = {kNan, kNan};
  Row row;
  row.p = 1;
  row.q = 0;  // x̂0 without `out`
  row.w[0][kColX0] = 0.5;
  row.w[1][kColX] = 3;
  const RowInputs in = {.out = nans.data(), .z = nans.data()};
  EXPECT_TRUE(UpdateRow(row, 2, 2, in, registers.data(), {}));
  EXPECT_THAT(registers, ElementsAre(0.5, 1, 3, 6));
}

TEST(RowUpdate, RegistersChangeAllAtOnce) {
  std::vector<float> registers = {1, 2, 3, 4};
  Row row;
  row.denoise = false;
  row.w[0][kColH1] = 1;
  row.w[1][kColX] = 1;
  EXPECT_TRUE(UpdateRow(row, 2, 2, {}, registers.data(), {}));
  EXPECT_THAT(registers, ElementsAre(3, 4, 1, 2));
}

TEST(RowUpdate, ARegisterWithoutWeightsBecomesZero) {
  std::vector<float> registers = {1, kNan};
  Row row;
  row.denoise = false;
  EXPECT_TRUE(UpdateRow(row, 1, 2, {}, registers.data(), {}));
  EXPECT_THAT(registers, Each(0.0f));
}

TEST(RowUpdate, TheForwardProcessHasNoOutput) {
  std::vector<float> registers = {1, -2};
  const std::vector<float> z = {10, 20};
  Row row;
  row.denoise = false;
  row.noise = true;
  row.w[0][kColX] = 0.5;
  row.w[0][kColZ] = 0.25;
  std::vector<float> x(2);
  EXPECT_TRUE(UpdateRow(row, 1, 2, {.z = z.data()}, registers.data(), {.x = x.data()}));
  EXPECT_THAT(x, ElementsAre(3, 4));
}

TEST(RowUpdate, WhatIsNotFiniteIsTold) {
  for (const float bad : {kNan, std::numeric_limits<float>::infinity(), -3e38f}) {
    // In the last of several blocks, in a register that is not x, and past clipping.
    std::vector<float> registers(2 * 2500, 1.0f);
    std::vector<float> out(2500, 0.0f);
    out[2499] = bad;
    Row row;
    row.p = 1;
    row.w[0][kColX] = 1;
    row.w[1][kColOut] = 2;
    EXPECT_FALSE(UpdateRow(row, 2, 2500, {.out = out.data()}, registers.data(), {})) << bad;
    EXPECT_EQ(registers[2499], 1);
  }
}

TEST(RowUpdate, ClippingDoesNotHideNan) {
  std::vector<float> registers = {1};
  const std::vector<float> out = {kNan};
  Row row;
  row.p = 1;
  row.q = 1;
  row.clip = true;
  row.w[0][kColX0] = 1;
  EXPECT_FALSE(UpdateRow(row, 1, 1, {.out = out.data()}, registers.data(), {}));
}

}  // namespace
}  // namespace denoise
