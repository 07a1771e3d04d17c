// Rows that are thresholded, rescaled or blended: cases whose answers are known. The random ones
// are in row_update_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "server/model/chain/row_update.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::Pointwise;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Runs a row that needs no scratch.
bool Update(const Row& row, int num_registers, int64_t n, const RowInputs& in,
            std::vector<float>& registers, const RowOutputs& out = {}) {
  return UpdateRow(row, num_registers, n, in, registers.data(), out, nullptr);
}

// A row whose x is its x̂0, which is x.
Row CopyRow() {
  Row row;
  row.p = 1;
  row.w[0][kColX0] = 1;
  return row;
}

Row ThresholdRow(double ratio, double max) {
  Row row = CopyRow();
  row.threshold = true;
  row.threshold_ratio = ratio;
  row.threshold_max = max;
  row.clip = true;  // not then
  row.clip_range = 0.125;
  return row;
}

std::vector<float> Thresholded(double ratio, double max, std::vector<float> x) {
  std::vector<float> scratch(x.size());
  const std::vector<float> out(x.size());
  EXPECT_TRUE(UpdateRow(ThresholdRow(ratio, max), 1, x.size(), {.out = out.data()}, x.data(), {},
                        scratch.data()));
  return x;
}

TEST(RowUpdateTest, ThresholdingDividesByTheQuantile) {
  const std::vector<float> x = {-8, 1, -4, 2, 0.5};
  // The second largest magnitude, 4.
  EXPECT_THAT(Thresholded(0.75, 100, x), ElementsAre(-1, 0.25, -1, 0.5, 0.125));
  // Between 4 and 8.
  EXPECT_THAT(Thresholded(0.875, 100, x), ElementsAre(-1, 1.0f / 6, -4.0f / 6, 2.0f / 6, 0.5f / 6));
  EXPECT_THAT(Thresholded(1, 100, x), ElementsAre(-1, 0.125, -0.5, 0.25, 0.0625));
  // No more than the maximum, and no less than 1.
  EXPECT_THAT(Thresholded(0.75, 2, x), ElementsAre(-1, 0.5, -1, 1, 0.25));
  EXPECT_THAT(Thresholded(0, 100, x), ElementsAre(-1, 1, -1, 1, 0.5));
  EXPECT_THAT(Thresholded(0.75, 1, x), ElementsAre(-1, 1, -1, 1, 0.5));
  EXPECT_THAT(Thresholded(0.995, 100, {-3}), ElementsAre(-1));
}

TEST(RowUpdateTest, ThresholdingLooksAtAllOfTheSample) {
  std::vector<float> x(2500, 2.0f);
  x[2499] = 16;  // in the last block, and felt in the first
  x = Thresholded(1, 100, x);
  EXPECT_EQ(x[0], 0.125f);
  EXPECT_EQ(x[2499], 1);
}

TEST(RowUpdateTest, ThresholdingDoesNotHideNan) {
  std::vector<float> x(2500, 2.0f), scratch(2500);
  x[1700] = kNan;
  const std::vector<float> out(2500);
  EXPECT_FALSE(UpdateRow(ThresholdRow(0.5, 100), 1, 2500, {.out = out.data()}, x.data(), {},
                         scratch.data()));
}

// x ← the guided answer, of which only [n] are looked at.
std::vector<float> Guided(const std::vector<float>& out, const std::vector<float>& out_null,
                          float guidance, float rescale) {
  Row row;
  row.w[0][kColOut] = 1;
  std::vector<float> x(out_null.size());
  EXPECT_TRUE(Update(row, 1, x.size(),
                     {.out = out.data(),
                      .out_null = out_null.data(),
                      .guidance = guidance,
                      .guidance_rescale = rescale},
                     x));
  return x;
}

TEST(RowUpdateTest, RescalingBringsGuidanceTowardsTheConditionalSpread) {
  // Spread 1 in a unit of √(4/3) where the guided answer, 3 out, has 3; and variance channels.
  const std::vector<float> out = {1, -1, 1, -1, 500, -500, 700, 900};
  const std::vector<float> out_null = {0, 0, 0, 0};
  EXPECT_THAT(Guided(out, out_null, 3, 0), ElementsAre(3, -3, 3, -3));
  EXPECT_THAT(Guided(out, out_null, 3, 1), Pointwise(FloatEq(), {1.f, -1.f, 1.f, -1.f}));
  EXPECT_THAT(Guided(out, out_null, 3, 0.5), Pointwise(FloatEq(), {2.f, -2.f, 2.f, -2.f}));
  // The mean is scaled with it.
  EXPECT_THAT(Guided({3, 1, 3, 1}, out_null, 3, 1), Pointwise(FloatEq(), {3.f, 1.f, 3.f, 1.f}));
}

TEST(RowUpdateTest, RescalingLeavesAnAnswerWithoutSpreadAsItIs) {
  EXPECT_THAT(Guided({0.1f, 0.1f, 0.1f}, {0, 0, 0}, 2, 1), Each(0.2f));
  EXPECT_THAT(Guided({0.1f}, {0}, 2, 1), Each(0.2f));
}

TEST(RowUpdateTest, RescalingDoesNotHideNan) {
  Row row;
  row.w[0][kColOut] = 1;
  for (const bool conditional : {false, true}) {
    std::vector<float> x(2000), out(2000, 1.0f), out_null(2000, 2.0f);
    (conditional ? out : out_null)[1500] = kNan;
    EXPECT_FALSE(Update(
        row, 1, 2000,
        {.out = out.data(), .out_null = out_null.data(), .guidance = 2, .guidance_rescale = 0.5},
        x));
  }
}

// x stays but for what a mask keeps.
Row BlendRow(Blend blend) {
  Row row;
  row.denoise = false;
  row.w[0][kColX] = 1;
  row.blend = blend;
  row.blend_alpha = 0.5;
  row.blend_sigma = 0.25;
  return row;
}

TEST(RowUpdateTest, AMaskOfZeroOrOneIsExact) {
  // Values that x + m (kept - x) would not give back, and one that is not asked for.
  const std::vector<float> known = {kNan, 0.1f, 0.3f}, z = {0, 0, 0.7f}, mask = {0, 1, 1};
  const RowInputs in = {.known = known.data(), .mask = mask.data(), .blend_z = z.data()};
  std::vector<float> x = {1e10f, 1e10f, -1e10f};
  EXPECT_TRUE(Update(BlendRow(Blend::kKnown), 1, 3, in, x));
  EXPECT_THAT(x, ElementsAre(1e10f, 0.1f, 0.3f));
  x = {1e10f, 1e10f, -1e10f};
  EXPECT_TRUE(Update(BlendRow(Blend::kKeptNoise), 1, 3, in, x));
  EXPECT_THAT(x, ElementsAre(1e10f, 0.05f, 0.5f * 0.3f + 0.25f * 0.7f));
}

TEST(RowUpdateTest, ASoftMaskMixes) {
  const std::vector<float> known = {8, 8}, z = {4, 4}, mask = {0.25, 0.75};
  const RowInputs in = {.known = known.data(), .mask = mask.data(), .blend_z = z.data()};
  for (const Blend blend : {Blend::kKeptNoise, Blend::kFreshNoise}) {
    std::vector<float> x = {1, 1};
    EXPECT_TRUE(Update(BlendRow(blend), 1, 2, in, x));
    EXPECT_THAT(x, ElementsAre(0.25 * 5 + 0.75, 0.75 * 5 + 0.25));
  }
  std::vector<float> x = {1, 1}, streamed(2);
  EXPECT_TRUE(Update(BlendRow(Blend::kKnown), 1, 2, in, x, {.x = streamed.data()}));
  EXPECT_THAT(x, ElementsAre(0.25 * 8 + 0.75, 0.75 * 8 + 0.25));
  EXPECT_EQ(streamed, x);
}

TEST(RowUpdateTest, OnlyXIsBlended) {
  const std::vector<float> known = {5}, mask = {1}, out = {3};
  std::vector<float> registers = {1, 2}, x0(1);
  Row row = BlendRow(Blend::kKnown);
  row.denoise = true;
  row.q = 1;
  row.w[1][kColX] = 10;  // what x was before
  row.w[1][kColX0] = 1;
  EXPECT_TRUE(Update(row, 2, 1, {.out = out.data(), .known = known.data(), .mask = mask.data()},
                     registers, {.x0 = x0.data()}));
  EXPECT_THAT(registers, ElementsAre(5, 13));
  EXPECT_THAT(x0, ElementsAre(3));
}

TEST(RowUpdateTest, BlendingHidesNanOnlyWhereXIsNotAskedFor) {
  const std::vector<float> known(2000, 1.0f);
  for (const float m : {0.0f, 0.5f, 1.0f}) {
    SCOPED_TRACE(m);
    std::vector<float> x(2000, 2.0f), mask(2000, 0.0f);
    x[1999] = kNan;
    mask[1999] = m;
    const RowInputs in = {.known = known.data(), .mask = mask.data()};
    EXPECT_EQ(Update(BlendRow(Blend::kKnown), 1, 2000, in, x), m == 1);
    if (m == 1) {
      EXPECT_EQ(x[1999], 1);
    }
  }
}

}  // namespace
}  // namespace denoise
