// From a chain's row to the states that its caller asked to see.
#ifndef DENOISE_SERVER_ENGINE_PUBLISH_H_
#define DENOISE_SERVER_ENGINE_PUBLISH_H_

#include "server/diffusion/table.h"
#include "server/engine/chain.h"
#include "server/engine/row_batch.h"

namespace denoise {

// Publishes the chain's state after `row`, or x_T where that is null: each content that was asked
// for and exists. Where states are decoded, as far as `outcome` has them so. Takes x and x̂0, or
// what was decoded of them, out of `outcome`.
void PublishState(const Chain& chain, const Row* row, RowBatch::Outcome& outcome);

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_PUBLISH_H_
