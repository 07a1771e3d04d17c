// Compiled with -O3 (the loops must vectorise; -O2 is fifteen times slower) and -ffp-contract=off
// (see CMakeLists.txt).
#include "server/model/row_update.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

// One machine code for each generation of vectors, chosen when the program starts. Resolvers run
// before ThreadSanitizer is ready for them; clang 14 does not know these targets.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define DENOISE_VECTOR_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DENOISE_VECTOR_CLONES
#endif
// Into each clone, which otherwise would call one common piece of code.
#define DENOISE_INLINE [[gnu::always_inline]] inline

namespace denoise {
namespace {

// Values that are taken through all of a row before the next: what is in between stays in the
// first-level cache.
constexpr int64_t kBlock = 1024;

// Memory for a block's values in between.
struct Scratch {
  alignas(64) float out[kBlock];
  alignas(64) float x0[kBlock];
  alignas(64) float z[kBlock];
  alignas(64) float registers[kMaxRegisters][kBlock];
};

// A sum of columns with their weights.
struct Terms {
  int count = 0;
  int columns[kNumColumns];
  float weights[kNumColumns];

  void Add(int column, double weight) {
    weights[count] = static_cast<float>(weight);
    if (weights[count] == 0) return;
    columns[count++] = column;
  }
  bool Uses(int column) const {
    return std::find(columns, columns + count, column) != columns + count;
  }
};

// A row in float32, ready to be run.
struct Plan {
  int num_written = 0;
  int written[kMaxRegisters];  // the registers that change
  Terms terms[kMaxRegisters];  // written[k] ← terms[k]
  bool x0 = false;             // whether x̂0 is needed at all
  Terms x0_terms;
  bool clip = false;
  float clip_range = 0;
  bool z = false;
  RowVariance variance = RowVariance::kNone;
  float log_var_min = 0;
  float log_var_max = 0;
};

Plan MakePlan(const Row& row, int num_registers, bool wants_x0) {
  Plan plan;
  for (int r = 0; r < num_registers; ++r) {
    Terms terms;
    for (int column = 0; column < kNumColumns; ++column) terms.Add(column, row.w[r][column]);
    if (terms.count == 1 && terms.columns[0] == r && terms.weights[0] == 1) continue;
    plan.x0 = plan.x0 || terms.Uses(kColX0);
    plan.z = plan.z || terms.Uses(kColZ);
    plan.written[plan.num_written] = r;
    plan.terms[plan.num_written++] = terms;
  }
  plan.x0 = plan.x0 || wants_x0;
  plan.x0_terms.Add(kColX, row.p);
  plan.x0_terms.Add(kColOut, row.q);
  plan.clip = row.clip;
  plan.clip_range = static_cast<float>(row.clip_range);
  plan.variance = row.variance;
  plan.log_var_min = static_cast<float>(row.log_var_min);
  plan.log_var_max = static_cast<float>(row.log_var_max);
  return plan;
}

template <int kCount>
DENOISE_INLINE void SumOf(const Terms& terms, const float* const* columns, int64_t n,
                          float* __restrict to) {
  const float* from[kCount];
  float weights[kCount];
  for (int k = 0; k < kCount; ++k) {
    from[k] = columns[terms.columns[k]];
    weights[k] = terms.weights[k];
  }
  for (int64_t i = 0; i < n; ++i) {
    float sum = weights[0] * from[0][i];
    for (int k = 1; k < kCount; ++k) sum += weights[k] * from[k][i];
    to[i] = sum;
  }
}

// `to` is none of the columns.
DENOISE_INLINE void Sum(const Terms& terms, const float* const* columns, int64_t n,
                        float* __restrict to) {
  switch (terms.count) {
    case 0:
      std::fill_n(to, n, 0.0f);
      return;
    case 1:
      SumOf<1>(terms, columns, n, to);
      return;
    case 2:
      SumOf<2>(terms, columns, n, to);
      return;
    case 3:
      SumOf<3>(terms, columns, n, to);
      return;
    case 4:
      SumOf<4>(terms, columns, n, to);
      return;
    case 5:
      SumOf<5>(terms, columns, n, to);
      return;
    case 6:
      SumOf<6>(terms, columns, n, to);
      return;
    case 7:
      SumOf<7>(terms, columns, n, to);
      return;
    case 8:
      SumOf<8>(terms, columns, n, to);
      return;
    case 9:
      SumOf<9>(terms, columns, n, to);
      return;
  }
}
static_assert(kNumColumns == 9);

DENOISE_INLINE void Guide(const float* out, const float* out_null, float guidance, int64_t n,
                          float* __restrict to) {
  for (int64_t i = 0; i < n; ++i) to[i] = out_null[i] + guidance * (out[i] - out_null[i]);
}

DENOISE_INLINE void Clip(float range, int64_t n, float* values) {
  for (int64_t i = 0; i < n; ++i) {
    const float value = values[i];
    // NaN fails both comparisons and stays, so that it is found.
    const float above = value < -range ? -range : value;
    values[i] = above > range ? range : above;
  }
}

// z · exp(½ log variance), from the denoiser's answer `o`.
DENOISE_INLINE void ScaleNoise(const Plan& plan, const float* z, const float* o, int64_t n,
                               float* __restrict to) {
  if (plan.variance == RowVariance::kLearned) {
    for (int64_t i = 0; i < n; ++i) to[i] = z[i] * std::exp(0.5f * o[i]);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const float f = (o[i] + 1) * 0.5f;
    const float log_variance = f * plan.log_var_max + (1 - f) * plan.log_var_min;
    to[i] = z[i] * std::exp(0.5f * log_variance);
  }
}

// Copies, and tells whether all values are finite: whether none has all bits of its exponent set.
DENOISE_INLINE bool Write(const float* from, int64_t n, float* __restrict to) {
  constexpr uint32_t kExponent = 0x7f800000;
  uint32_t not_finite = 0;
  for (int64_t i = 0; i < n; ++i) {
    to[i] = from[i];
    not_finite |= (std::bit_cast<uint32_t>(from[i]) & kExponent) == kExponent ? 1 : 0;
  }
  return not_finite == 0;
}

// Values `begin` to `begin + n` of a row; n ≤ kBlock.
DENOISE_INLINE bool UpdateBlock(const Plan& plan, int num_registers, int64_t stride, int64_t begin,
                                int64_t n, const RowInputs& in, float* registers,
                                const RowOutputs& to, Scratch& scratch) {
  const float* columns[kNumColumns] = {};
  for (int r = 0; r < num_registers; ++r) columns[r] = registers + r * stride + begin;
  if (in.out != nullptr) {
    columns[kColOut] = in.out + begin;
    if (in.out_null != nullptr) {
      Guide(in.out + begin, in.out_null + begin, in.guidance, n, scratch.out);
      columns[kColOut] = scratch.out;
    }
  }
  if (plan.x0) {
    Sum(plan.x0_terms, columns, n, scratch.x0);
    if (plan.clip) Clip(plan.clip_range, n, scratch.x0);
    columns[kColX0] = scratch.x0;
    if (to.x0 != nullptr) std::memcpy(to.x0 + begin, scratch.x0, n * sizeof(float));
  }
  if (plan.z) {
    columns[kColZ] = in.z + begin;
    if (plan.variance != RowVariance::kNone) {
      ScaleNoise(plan, in.z + begin, in.out + stride + begin, n, scratch.z);
      columns[kColZ] = scratch.z;
    }
  }
  // All are computed from what was there before, then written.
  for (int k = 0; k < plan.num_written; ++k) {
    Sum(plan.terms[k], columns, n, scratch.registers[k]);
  }
  bool finite = true;
  for (int k = 0; k < plan.num_written; ++k) {
    float* const written = registers + plan.written[k] * stride + begin;
    if (!Write(scratch.registers[k], n, written)) finite = false;
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

}  // namespace

bool UpdateRow(const Row& row, int num_registers, int64_t n, const RowInputs& in, float* registers,
               const RowOutputs& out) {
  const Plan plan = MakePlan(row, num_registers, out.x0 != nullptr);
  return UpdateBlocks(plan, num_registers, n, in, registers, out);
}

}  // namespace denoise
