// Inpainting, as a change to a finished table: whichever sampler filled it, its rows blend.
#ifndef DENOISE_SERVER_DIFFUSION_INPAINTING_H_
#define DENOISE_SERVER_DIFFUSION_INPAINTING_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/diffusion/table.h"

namespace denoise {

// Rows of a table with resampling, at most.
inline constexpr uint64_t kMaxResampledRows = 16'384;

// Makes every row blend at the level of its x, stages between two steps included, and the last row
// with the known image itself. The noise of the known part is the chain's first draw.
void BlendRows(Table* table);

// RePaint (Lugmayr et al. 2022, algorithm 1). The noise of the known part is a fresh draw in every
// row, and the chain goes back: with N steps and jumps of length j, whenever one of
//
//   1, 1 + j, 1 + 2j, … ≤ N - j
//
// steps are left, it is brought back by j steps of the forward process, in one row,
//
//   x ← (α_hi/α_lo) x + √(σ_hi² - (α_hi/α_lo)² σ_lo²) z,
//
// (the second root is √(1 - ᾱ_hi/ᾱ_lo) but for flow models) and makes them again, until they were
// made jump_samples times. These are the jumps of the authors' get_schedule_jump, which never goes
// back from x_0 itself. diffusers' RePaintScheduler has the same list of times but takes each for
// the state's that a step begins at, not arrives at, so that it goes back from x_0, and not from
// where one step is left.
//
// Steps that are made again count: table->total_steps is the number of all of them, and step
// numbers ascend. The row that goes back belongs to the step after it and completes none.
//
// Needs a table of one row a step in which a row depends on the rows before it only through x
// (`repeatable`, of `sampler`). FieldErrors "inpainting.jump_samples" where it is not, or where the
// rows are more than kMaxResampledRows, and "inpainting.jump_length" where that is not in 1..N-1.
absl::Status BlendAndResample(uint32_t jump_length, uint32_t jump_samples, bool repeatable,
                              absl::string_view sampler, Table* table);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_INPAINTING_H_
