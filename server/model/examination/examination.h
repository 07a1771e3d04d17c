// Proves of a denoiser what batching rows of different chains needs.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_EXAMINATION_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_EXAMINATION_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/examination/examination_report.h"

namespace denoise {

// The findings about a denoiser that passed.
struct Findings {
  bool learned_variance = false;  // 2C channels
  bool integer_time = false;      // t must be int64
};

// Calls the denoiser some fifteen times on a few rows and shows that
//
//   - it answers floating point [N, C or 2C, H, W], finite, for any batch size N, every class and
//     all of the schedule's t, and 2C channels where the configuration's variance is learned;
//   - equal calls give equal answers;
//   - a row's answer does not depend on the rows beside it;
//   - t, y and conditions are honoured, row by row, conditions of open extents for two of them.
//
// Nothing is inferred from how the module was made: eval() and freezing undo some mistakes, and
// what then behaves is served. What was found is added to `results` test by test, until one fails.
//
// `info`: what the files say. INVALID_ARGUMENT where it is not so: one line with the reason and the
// fix. RESOURCE_EXHAUSTED where memory ran out. On the thread of an engine only.
absl::StatusOr<Findings> Examine(const Denoiser& denoiser, const ModelInfo& info,
                                 std::vector<TestResult>* results);

// How far apart two denoisers' answers to the same rows are: max|a-b| / max|b|. Infinite where a
// value is not finite.
absl::StatusOr<double> Difference(const Denoiser& a, const Denoiser& b, const ModelInfo& info,
                                  bool integer_time);

// What rounding explains of such a difference, where two choices of kernels compute in this type.
double RoundingOf(at::ScalarType dtype);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_EXAMINATION_H_
