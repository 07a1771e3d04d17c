// The forward process q as tables, so that it is run by the same update as the reverse process.
#ifndef DENOISE_SERVER_DIFFUSION_FORWARD_PROCESS_H_
#define DENOISE_SERVER_DIFFUSION_FORWARD_PROCESS_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/table.h"

namespace denoise {

// Tables whose x starts as x_0 (initial_scale 1, every register x_0) and whose step k leaves x
// distributed as x_t for t = timesteps[k-1]. None of their rows calls the denoiser, each draws one
// z. `timesteps`: not empty, strictly ascending, each 0..T-1; otherwise a FieldError "timesteps".

// q(x_t|x_{t-1}), row by row from t = 0 to the last of `timesteps`; rows between two of them
// complete no step. A FieldError "chain" for a flow model, whose x_t is a mixture of x_0 and one
// noise and no chain.
absl::StatusOr<Table> MakeForwardChain(const NoiseSchedule& schedule,
                                       const std::vector<int64_t>& timesteps);

// q(x_t|x_0), each t by a draw of its own: x ← α_t h1 + σ_t z, where h1 keeps x_0.
absl::StatusOr<Table> MakeForwardJumps(const NoiseSchedule& schedule,
                                       const std::vector<int64_t>& timesteps);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_FORWARD_PROCESS_H_
