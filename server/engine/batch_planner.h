// Which chains take part in the next tick.
#ifndef DENOISE_SERVER_ENGINE_BATCH_PLANNER_H_
#define DENOISE_SERVER_ENGINE_BATCH_PLANNER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace denoise {

// How chains share denoiser calls. kStep: any chain, at every tick anew. kRequest, kNone: for
// comparison.
enum class Batching {
  kStep,     // chains join and leave at every tick
  kRequest,  // a batch is filled from the waiting chains, and none joins until all of it have ended
  kNone,     // one chain a call
};

// A chain that could run its next row.
struct Candidate {
  size_t chain = 0;       // the caller's own index
  int model = 0;          // the caller's own number; chains of different models cannot share a call
  int denoiser_rows = 0;  // 0 (no denoiser call), 1, or 2 (guided)
  int64_t values = 0;     // C·H·W
};

struct Batch {
  int model = -1;  // -1: nothing to run
  std::vector<size_t> chains;
  int64_t rows = 0;  // denoiser rows
  int64_t padded_rows =
      0;  // the allowed batch size that is run; 0 where no chain calls the denoiser
};

// The allowed batch size for `rows`: the smallest that holds them, else `rows` itself. `sizes`
// ascend.
int64_t PaddedRows(int64_t rows, absl::Span<const int64_t> sizes);

// Pure: no threads, no clock, no LibTorch. Models take turns; within a model chains are taken in
// the order of the candidates until the largest batch size is full. A guided chain's rows go
// together. Chains that do not call the denoiser ride along, as many as fit a slice of about a
// millisecond.
class BatchPlanner {
 public:
  explicit BatchPlanner(Batching batching) : batching_(batching) {}

  // `sizes[m]`: the batch sizes of model m, ascending. The result is good until the next call.
  const Batch& Plan(absl::Span<const Candidate> candidates,
                    absl::Span<const std::vector<int64_t>> sizes);

 private:
  int NextModel(absl::Span<const Candidate> candidates) const;

  const Batching batching_;
  Batch batch_;  // kept, so that planning allocates nothing once warm
  int last_model_ = -1;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_BATCH_PLANNER_H_
