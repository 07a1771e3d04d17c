// How long requests wait, from the work before them and the speed measured when the model was
// loaded.
#ifndef DENOISE_SERVER_ENGINE_WAIT_ESTIMATE_H_
#define DENOISE_SERVER_ENGINE_WAIT_ESTIMATE_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "server/engine/model_info.h"

namespace denoise {

// Denoiser rows a second of all replicas at the best batch size; 0 where nothing was measured.
double RowsPerSecond(const ModelInfo& model);

// Time for `rows` denoiser rows; zero where the speed is unknown.
absl::Duration TimeFor(const ModelInfo& model, uint64_t rows);

// Of a request of `model`: the least work that it takes if only what waits before it runs besides.
struct LeastWork {
  uint64_t calls = 0;        // one after the other, of the chain that needs most
  uint64_t rows = 0;         // of all its chains
  uint64_t rows_before = 0;  // that are surely run first
};

// The least time for that; zero where nothing was measured. At the speeds of an idle machine, so
// beside other requests it takes longer.
absl::Duration LeastTimeFor(const ModelInfo& model, const LeastWork& work);

// Calls that a chain gets in `time` while batches are full; 0 where nothing was measured.
uint64_t CallsIn(const ModelInfo& model, absl::Duration time);

// When a place in a full queue is likely to be free: the time in which one of `requests` leaves,
// where they need `rows` in all. 100 ms to 30 s.
absl::Duration RetryDelay(const ModelInfo& model, uint64_t rows, size_t requests);

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_WAIT_ESTIMATE_H_
