// Which batch sizes a model is run at, and how long a call takes at each.
#ifndef DENOISE_SERVER_MODEL_EXAMINATION_BATCH_SIZES_H_
#define DENOISE_SERVER_MODEL_EXAMINATION_BATCH_SIZES_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/carrier.h"
#include "server/model/examination/batch_time.h"

namespace denoise {

class Denoiser;

// Measured for every model that is not so slow that this takes about a second.
inline constexpr int64_t kSurelyMeasured = 16;

// The operator's wishes.
struct BatchSizeOptions {
  int64_t max_rows = 0;          // 0: where the device is saturated
  std::vector<int64_t> sizes{};  // empty: chosen here

  // Where the denoiser is called, and timed; null: on the calling thread.
  Carrier carrier = nullptr;

  // Whether the sizes are the server's to choose.
  bool free() const { return sizes.empty() && max_rows == 0; }
};

// Whether requests of the model can be guided: there is something that stands for "none", or can be
// given as what guidance leads away from.
bool MayBeGuided(const ModelInfo& info);

// The sizes to be measured, ascending: those given, up to max_rows; otherwise on a CPU 1 to 8 and
// then steps of a seventh to a quarter, up to max_rows (itself included) or 64; on an accelerator,
// which is saturated later and wants few sizes, 1, 2, 4, 8, 16 and then steps of a third to a half,
// up to max_rows or 256. INVALID_ARGUMENT where one is below 1, none is left, or the largest is 1
// and a guided chain, which needs two rows in one call, is possible.
absl::StatusOr<std::vector<int64_t>> CandidateSizes(const BatchSizeOptions& options,
                                                    bool may_be_guided, bool accelerator = false);

// How many of `times` to keep: up to the last of those sizes, 1, 2, 3 to 4, 5 to 8, 9 to 16 and so
// on, whose best rows a second come within 2% of the best of all; past that a batch only makes
// everybody wait longer. Of quick models up to 8 rows in any case. By such groups, because their
// best hardly varies from one start to another, where each size's own would choose now this, now
// that if the curve is flat. At least `least`.
size_t KneeOf(const std::vector<BatchTime>& times, size_t least);

// How many of `times` there must be for one of two rows to be among them, which guided chains need.
size_t LeastFor(const std::vector<BatchTime>& times, bool may_be_guided);

// The first size, of 1, 2, 4, … up to `most`, after which doubling gains next to nothing, or that
// was reached within `seconds`. On the thread of an engine, while the others are idle.
absl::StatusOr<int64_t> FindSaturation(const Denoiser& denoiser, const ModelInfo& info,
                                       int64_t most, double seconds);

// Warms the denoiser at each candidate and times it: on the thread of an engine, while the others
// are idle. Where the operator has left it to the server, only up to the size past which doubling
// gains next to nothing or finds no memory. INVALID_ARGUMENT where the operator asks for more rows
// than the denoiser takes. `info` with the examination's findings.
absl::StatusOr<std::vector<BatchTime>> MeasureBatchSizes(const Denoiser& denoiser,
                                                         const ModelInfo& info,
                                                         const BatchSizeOptions& options);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_EXAMINATION_BATCH_SIZES_H_
