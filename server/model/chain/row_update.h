// The one update that every row of every sampler is: what a table's row means, on float32 values.
#ifndef DENOISE_SERVER_MODEL_CHAIN_ROW_UPDATE_H_
#define DENOISE_SERVER_MODEL_CHAIN_ROW_UPDATE_H_

#include <cstdint>

#include "server/diffusion/table.h"

namespace denoise {

// What a row reads beside its chain's registers; n is C·H·W, as below.
struct RowInputs {
  // [n], or [2n] where the row's variance is learned; not null where the row denoises.
  const float* out = nullptr;
  // [n], the unconditional answer: out ← out_null + guidance (out - out_null). Null: no guidance.
  const float* out_null = nullptr;
  float guidance = 1;
  // 0..1; above 0 the guided answer is then brought towards the spread that `out` had: see
  // GuidanceRescaling in sample_statistics.h.
  float guidance_rescale = 0;
  // [n] standard normal values; not null where the row has a weight for z.
  const float* z = nullptr;
  // [n] each, not null where the row blends: x_0, what of it is kept (0..1), and standard normal
  // values (Blend::kKnown reads none).
  const float* known = nullptr;
  const float* mask = nullptr;
  const float* blend_z = nullptr;
};

// Where not null, x after the row and its x̂0 are also written there, [n] values each; x̂0 exists
// only where the row denoises.
struct RowOutputs {
  float* x = nullptr;
  float* x0 = nullptr;
};

// Runs `row` on registers[r·n + i], r < num_registers ≤ kMaxRegisters, in place. Tells whether all
// values written to them are finite. Neither fails nor allocates. One pass over memory, and before
// it two where guidance is rescaled, and one and a selection where x̂0 is thresholded. `scratch`:
// [n] values for the last, may be null for rows that do not threshold.
//
// Each value is computed in one fixed order with one rounding an operation, whatever the CPU's
// vectors: so equal inputs give equal bits everywhere. Weights are rounded to float32 first; a
// weight that is zero leaves its column out, so that a column of NaN that is not asked for does no
// harm. So does a mask of exactly 0 with what is known, and one of exactly 1 with x.
bool UpdateRow(const Row& row, int num_registers, int64_t n, const RowInputs& in, float* registers,
               const RowOutputs& out, float* scratch);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_CHAIN_ROW_UPDATE_H_
