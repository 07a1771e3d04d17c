// Which rows take part in the next tick.
#ifndef DENOISE_SERVER_ENGINE_BATCH_PLANNER_H_
#define DENOISE_SERVER_ENGINE_BATCH_PLANNER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace denoise {

// How chains share denoiser calls. kStep: any chains, chosen at every tick. kRequest, kNone: for
// comparison.
enum class Batching {
  kStep,     // chains join and leave at every tick
  kRequest,  // a batch is filled from the waiting chains, and none joins until all of it have ended
  kNone,     // one row of one chain a call
};

// A chain that could run its next row, or, where its rows are terms of a likelihood, several.
struct Candidate {
  size_t chain = 0;       // the caller's own index
  int key = 0;            // the caller's own number; rows of different keys cannot share a call
  int model = 0;          // whose batch sizes hold; one for all of a key
  int priority = 0;       // of its rank: smaller ones' keys go first, whatever they have had
  int denoiser_rows = 0;  // of a row: 0 (no denoiser call), 1, or 2 (guided)
  int64_t values = 0;     // C·H·W
  // Of the chains of an Evaluate, which stand together among the candidates and have one key and at
  // least one denoiser row a row: what tells this Evaluate from others, and which rows are left.
  // Null: a chain whose rows depend on each other.
  const void* evaluation = nullptr;
  size_t next_row = 0;
  size_t rows_left = 1;
};

struct Batch {
  int key = -1;  // -1: nothing to run
  int model = -1;
  // A chain for each row that is run. Where one is named several times, these are its next rows, in
  // order.
  std::vector<size_t> chains;
  int64_t rows = 0;  // denoiser rows
  int64_t padded_rows =
      0;  // the allowed batch size that is run; 0 where no chain calls the denoiser
};

// The allowed batch size for `rows`: the smallest that holds them, else `rows` itself. `sizes`
// ascend.
int64_t PaddedRows(int64_t rows, absl::Span<const int64_t> sizes);

// Pure: no threads, no clock, no LibTorch. Within a key chains are taken in the order of the
// candidates until the largest batch size is full. A guided chain's rows go together. Chains that
// do not call the denoiser ride along, as many as fit a slice of about a millisecond.
//
// Keys share the time: each has as many seconds as another while both have chains, so that a
// model whose calls are cheap does not wait for one expensive call after each of its own. A batch
// counts with what was measured at load; a key is in debt for one batch at most, and saves nothing
// up while it has no chains. (Deficit round robin with the quantum of a batch, in the form of
// start-time fair queueing: Goyal, Vin, Cheng 1996.)
//
// One Evaluate has thousands of rows that could all run at once, so it gets at most half of the
// largest batch, and what is then left of it where the others do not fill it. Its chains go
// forward side by side, so that a timestep is soon complete.
class BatchPlanner {
 public:
  explicit BatchPlanner(Batching batching) : batching_(batching) {}

  // `candidates` by rank. `sizes[m]`: the batch sizes of model m, ascending; `seconds[m]`: the time
  // of a call at each of them, where it was measured. The result is good until the next call.
  const Batch& Plan(absl::Span<const Candidate> candidates,
                    absl::Span<const std::vector<int64_t>> sizes,
                    absl::Span<const std::vector<double>> seconds = {});

 private:
  // Candidates of one Evaluate, and its next row that some of them have not been given.
  struct Terms {
    absl::Span<const Candidate> chains;
    size_t row = 0;
    size_t chain = 0;  // of `chains`, the next to be asked for this row
  };

  // Seconds at which a key is served next, as if all had run side by side from 0 on.
  double TurnOf(int key) const;
  int NextKey(absl::Span<const Candidate> candidates);
  // Counts the batch, of which `forward_values` called no denoiser.
  void Charge(int64_t forward_values, absl::Span<const int64_t> sizes,
              absl::Span<const double> seconds);
  bool Fits(const Candidate& candidate, int64_t max_rows) const;
  void Take(const Candidate& candidate);
  // Takes terms until the batch has `max_rows`. True where some are left then.
  bool TakeTerms(Terms& terms, int64_t max_rows);

  const Batching batching_;
  Batch batch_;  // kept, as the next, so that planning allocates nothing once warm
  std::vector<Terms> cut_short_;
  std::vector<double> served_;  // by key: where its next turn begins
  double now_ = 0;              // where that of the last one began
  int last_key_ = -1;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_BATCH_PLANNER_H_
