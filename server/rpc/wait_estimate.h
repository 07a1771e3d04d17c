// How long requests wait, from the work before them and the speed measured when the model was
// loaded.
#ifndef DENOISE_SERVER_RPC_WAIT_ESTIMATE_H_
#define DENOISE_SERVER_RPC_WAIT_ESTIMATE_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "server/engine/model_info.h"

namespace denoise {

// Denoiser rows a second of all replicas at the best batch size; 0 where nothing was measured.
double RowsPerSecond(const ModelInfo& model);

// Time for `rows` denoiser rows; zero where the speed is unknown.
absl::Duration TimeFor(const ModelInfo& model, uint64_t rows);

// When a place in a full queue is likely to be free: the time in which one of `requests` leaves,
// where they need `rows` in all. 100 ms to 30 s.
absl::Duration RetryDelay(const ModelInfo& model, uint64_t rows, size_t requests);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_WAIT_ESTIMATE_H_
