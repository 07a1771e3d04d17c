#include "server/model/chain/row_update.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "server/model/chain/row_kernels.h"
#include "server/model/chain/sample_statistics.h"

namespace denoise {
namespace {

using row_kernels::kBlock;
using row_kernels::Terms;

// Memory for a block's values in between.
struct Scratch {
  alignas(64) float out[kBlock];
  alignas(64) float x0[kBlock];
  alignas(64) float z[kBlock];
  alignas(64) float registers[kMaxRegisters][kBlock];
};

// A row in float32, ready to be run.
struct Plan {
  int num_written = 0;
  int written[kMaxRegisters];  // the registers that change, ascending; x where the row blends
  Terms terms[kMaxRegisters];  // written[k] ← terms[k]
  float out_scale = 1;         // of the guided answer
  bool x0 = false;             // whether x̂0 is needed at all
  Terms x0_terms;
  bool clip = false;
  float clip_range = 0;
  bool threshold = false;
  float threshold_level = 1;
  bool z = false;
  RowVariance variance = RowVariance::kNone;
  float log_var_min = 0;
  float log_var_max = 0;
  Blend blend = Blend::kNone;
  float blend_alpha = 1;
  float blend_sigma = 0;
};

Plan MakePlan(const Row& row, int num_registers, bool wants_x0) {
  Plan plan;
  for (int r = 0; r < num_registers; ++r) {
    Terms terms;
    for (int column = 0; column < kNumColumns; ++column) terms.Add(column, row.w[r][column]);
    const bool stays = terms.count == 1 && terms.columns[0] == r && terms.weights[0] == 1;
    const bool blends = r == 0 && row.blend != Blend::kNone;
    if (stays && !blends) continue;
    plan.x0 = plan.x0 || terms.Uses(kColX0);
    plan.z = plan.z || terms.Uses(kColZ);
    plan.written[plan.num_written] = r;
    plan.terms[plan.num_written++] = terms;
  }
  plan.x0 = plan.x0 || wants_x0;
  plan.x0_terms.Add(kColX, row.p);
  plan.x0_terms.Add(kColOut, row.q);
  plan.threshold = row.threshold;
  plan.clip = row.clip && !row.threshold;
  plan.clip_range = static_cast<float>(row.clip_range);
  plan.variance = row.variance;
  plan.log_var_min = static_cast<float>(row.log_var_min);
  plan.log_var_max = static_cast<float>(row.log_var_max);
  plan.blend = row.blend;
  plan.blend_alpha = static_cast<float>(row.blend_alpha);
  plan.blend_sigma = static_cast<float>(row.blend_sigma);
  return plan;
}

// Sets the columns that x̂0 is made of, for the values from `begin` on: x, and `out`, which is
// guided into `guided` where it has to be.
DENOISE_INLINE void SetX0Columns(const Plan& plan, const RowInputs& in, const float* registers,
                                 int64_t begin, int64_t n, float* guided, const float** columns) {
  columns[kColX] = registers + begin;
  if (in.out == nullptr) return;
  columns[kColOut] = in.out + begin;
  if (in.out_null == nullptr) return;
  row_kernels::Guide(in.out + begin, in.out_null + begin, in.guidance, n, guided);
  if (plan.out_scale != 1) row_kernels::Scale(plan.out_scale, n, guided);
  columns[kColOut] = guided;
}

// Values `begin` to `begin + n` of a row; n ≤ kBlock.
DENOISE_INLINE bool UpdateBlock(const Plan& plan, int num_registers, int64_t stride, int64_t begin,
                                int64_t n, const RowInputs& in, float* registers,
                                const RowOutputs& to, Scratch& scratch) {
  const float* columns[kNumColumns] = {};
  SetX0Columns(plan, in, registers, begin, n, scratch.out, columns);
  for (int r = 1; r < num_registers; ++r) columns[r] = registers + r * stride + begin;
  if (plan.x0) {
    row_kernels::Sum(plan.x0_terms, columns, n, scratch.x0);
    if (plan.clip) row_kernels::Clip(plan.clip_range, n, scratch.x0);
    if (plan.threshold) row_kernels::Threshold(plan.threshold_level, n, scratch.x0);
    columns[kColX0] = scratch.x0;
    if (to.x0 != nullptr) std::memcpy(to.x0 + begin, scratch.x0, n * sizeof(float));
  }
  if (plan.z) {
    columns[kColZ] = in.z + begin;
    if (plan.variance != RowVariance::kNone) {
      row_kernels::ScaleNoise(plan.variance, plan.log_var_min, plan.log_var_max, in.z + begin,
                              in.out + stride + begin, n, scratch.z);
      columns[kColZ] = scratch.z;
    }
  }
  // All are computed from what was there before, then written.
  for (int k = 0; k < plan.num_written; ++k) {
    row_kernels::Sum(plan.terms[k], columns, n, scratch.registers[k]);
  }
  if (plan.blend != Blend::kNone) {
    const float* const z = plan.blend == Blend::kKnown ? nullptr : in.blend_z + begin;
    row_kernels::BlendKnown(plan.blend_alpha, plan.blend_sigma, in.known + begin, z,
                            in.mask + begin, n, scratch.registers[0]);
  }
  bool finite = true;
  for (int k = 0; k < plan.num_written; ++k) {
    float* const written = registers + plan.written[k] * stride + begin;
    if (!row_kernels::Write(scratch.registers[k], n, written)) finite = false;
  }
  if (to.x != nullptr) std::memcpy(to.x + begin, registers + begin, n * sizeof(float));
  return finite;
}

DENOISE_VECTOR_CLONES bool UpdateBlocks(const Plan& plan, int num_registers, int64_t n,
                                        const RowInputs& in, float* registers,
                                        const RowOutputs& to) {
  Scratch scratch;
  bool finite = true;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    if (!UpdateBlock(plan, num_registers, n, begin, count, in, registers, to, scratch)) {
      finite = false;
    }
  }
  return finite;
}

// |x̂0| before it is thresholded, as UpdateBlocks will compute it again.
DENOISE_VECTOR_CLONES void Magnitudes(const Plan& plan, int64_t n, const RowInputs& in,
                                      const float* registers, float* to) {
  alignas(64) float guided[kBlock];
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    const float* columns[kNumColumns] = {};
    SetX0Columns(plan, in, registers, begin, count, guided, columns);
    row_kernels::Sum(plan.x0_terms, columns, count, to + begin);
    for (int64_t i = begin; i < begin + count; ++i) to[i] = std::abs(to[i]);
  }
}

}  // namespace

bool UpdateRow(const Row& row, int num_registers, int64_t n, const RowInputs& in, float* registers,
               const RowOutputs& out, float* scratch) {
  Plan plan = MakePlan(row, num_registers, out.x0 != nullptr);
  if (in.out_null != nullptr && in.guidance_rescale > 0) {
    plan.out_scale = GuidanceRescaling(in.out, in.out_null, in.guidance, in.guidance_rescale, n);
  }
  if (plan.x0 && plan.threshold) {
    Magnitudes(plan, n, in, registers, scratch);
    const float quantile = Quantile(static_cast<float>(row.threshold_ratio), n, scratch);
    // In this order of arguments NaN stays.
    plan.threshold_level =
        std::min(std::max(quantile, 1.0f), static_cast<float>(row.threshold_max));
  }
  return UpdateBlocks(plan, num_registers, n, in, registers, out);
}

}  // namespace denoise
