// Rows that a model is tried and timed with.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_EXAMPLE_ROWS_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_EXAMPLE_ROWS_H_

#include <cstdint>
#include <vector>

#include "server/engine/conditions.h"
#include "server/engine/model_info.h"

namespace denoise {

// A few fixed pictures of noise and, for models with further inputs, as many rows of conditions.
// The same in every process. Immutable.
class ExampleRows {
 public:
  static constexpr int kRows = 5;
  // What extents of -1 are tried with.
  static constexpr int64_t kOpenExtents[] = {4, 7};

  // May throw where memory runs out.
  explicit ExampleRows(const ModelInfo& info, int64_t open_extent = kOpenExtents[0]);

  // [C·H·W] standard normal values, i < kRows.
  const float* picture(int i) const { return pictures_.data() + i * values_; }
  // kRows rows each. Row 0 has the null value where there is one; the others random numbers, 0 and
  // 1 for int64 (which may be indices of a table of unknown size), mostly true for bool (which may
  // be masks). Null for models without conditions.
  const Conditions* conditions() const { return conditions_.empty() ? nullptr : &conditions_; }

 private:
  const int64_t values_;
  std::vector<float> pictures_;
  Conditions conditions_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_EXAMPLE_ROWS_H_
