// How long a denoiser call takes, by its batch size, as it was measured on a machine.
#ifndef DENOISE_SIMULATION_BATCH_CURVE_H_
#define DENOISE_SIMULATION_BATCH_CURVE_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace denoise {

struct BatchCurve {
  std::vector<int64_t> batch_sizes;             // that are run, ascending
  std::vector<std::chrono::nanoseconds> times;  // of one call at each of them, on one replica

  // Of a call at `rows`, one of the batch sizes.
  std::chrono::nanoseconds TimeFor(int64_t rows) const;
  // Of a replica whose batches are always of the best size.
  double RowsPerSecond() const;
};

// From a file such as digits.json, which scaling.py records. INVALID_ARGUMENT, with the fix, where
// it is not one.
absl::StatusOr<BatchCurve> ReadBatchCurve(const std::string& path);

}  // namespace denoise

#endif  // DENOISE_SIMULATION_BATCH_CURVE_H_
