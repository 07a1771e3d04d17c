// Whether a denoiser answers the same at every batch size.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_SIZE_COMPARISON_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_SIZE_COMPARISON_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/denoiser.h"

namespace denoise {

// Where a denoiser differs most from its reference.
struct SizeDifference {
  int64_t rows = 0;
  double difference = 0;  // max|a-b| / max|b| over the batch; infinite where a value is not finite
};

// Calls `denoiser` at each of `sizes` with example rows, at every position and with any neighbours,
// and compares with what `reference` answers to each of those rows alone; both may be the same.
// Compiled code can be right at some sizes and wrong at others. About 5 calls of one row and one
// of each size, on the thread of an engine. `info` with the examination's findings.
absl::StatusOr<SizeDifference> CompareSizes(const Denoiser& denoiser, const Denoiser& reference,
                                            const ModelInfo& info,
                                            const std::vector<int64_t>& sizes);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_SIZE_COMPARISON_H_
