// What the row update does to a block of values: loops that the compiler turns into vectors.
//
// For the .cc files that are compiled with -O3 (the loops must vectorise; -O2 is fifteen times
// slower) and -ffp-contract=off (see CMakeLists.txt), and there only within functions marked
// DENOISE_VECTOR_CLONES.
#ifndef DENOISE_SERVER_MODEL_CHAIN_ROW_KERNELS_H_
#define DENOISE_SERVER_MODEL_CHAIN_ROW_KERNELS_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "server/diffusion/table.h"

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

namespace denoise::row_kernels {

// Values that are taken through all of a row before the next: what is in between stays in the
// first-level cache.
inline constexpr int64_t kBlock = 1024;

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

DENOISE_INLINE void Scale(float factor, int64_t n, float* values) {
  for (int64_t i = 0; i < n; ++i) values[i] *= factor;
}

// NaN fails both comparisons and stays, so that it is found.
DENOISE_INLINE float Clamp(float value, float range) {
  const float above = value < -range ? -range : value;
  return above > range ? range : above;
}

DENOISE_INLINE void Clip(float range, int64_t n, float* values) {
  for (int64_t i = 0; i < n; ++i) values[i] = Clamp(values[i], range);
}

DENOISE_INLINE void Threshold(float level, int64_t n, float* values) {
  for (int64_t i = 0; i < n; ++i) values[i] = Clamp(values[i], level) / level;
}

// z · exp(½ log variance), from the denoiser's answer `o`. The variance is one that the row has.
DENOISE_INLINE void ScaleNoise(RowVariance variance, float log_var_min, float log_var_max,
                               const float* z, const float* o, int64_t n, float* __restrict to) {
  if (variance == RowVariance::kLearned) {
    for (int64_t i = 0; i < n; ++i) to[i] = z[i] * std::exp(0.5f * o[i]);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const float f = (o[i] + 1) * 0.5f;
    const float log_variance = f * log_var_max + (1 - f) * log_var_min;
    to[i] = z[i] * std::exp(0.5f * log_variance);
  }
}

// x ← m kept + (1-m) x, with kept = alpha known + sigma z, or `known` itself where z is null. As
// with weights, a part whose coefficient is zero is left out altogether.
DENOISE_INLINE void BlendKnown(float alpha, float sigma, const float* known, const float* z,
                               const float* mask, int64_t n, float* __restrict x) {
  for (int64_t i = 0; i < n; ++i) {
    const float kept = z == nullptr ? known[i] : alpha * known[i] + sigma * z[i];
    const float m = mask[i];
    const float mixed = m * kept + (1 - m) * x[i];
    const float kept_or_mixed = m == 1 ? kept : mixed;
    x[i] = m == 0 ? x[i] : kept_or_mixed;
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

}  // namespace denoise::row_kernels

#endif  // DENOISE_SERVER_MODEL_CHAIN_ROW_KERNELS_H_
