// How a chain's row ends its request.
#ifndef DENOISE_SERVER_ENGINE_FAILURE_H_
#define DENOISE_SERVER_ENGINE_FAILURE_H_

#include <optional>

#include "absl/status/status.h"
#include "server/diffusion/table.h"
#include "server/engine/chain.h"
#include "server/engine/row_batch.h"

namespace denoise {

struct Failure {
  const char* reason = "";  // of Metrics::ChainFailed
  absl::Status status;      // names the sample and the step, or the timestep of a term
};

// Of the chain's `row`, or of its start where that is null; nullopt where all went well.
std::optional<Failure> FailureOf(const Chain& chain, const Row* row,
                                 const RowBatch::Outcome& outcome);

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_FAILURE_H_
