// The rows of one tick on their way through the executor.
#ifndef DENOISE_SERVER_ENGINE_ROW_BATCH_H_
#define DENOISE_SERVER_ENGINE_ROW_BATCH_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/engine/chain.h"
#include "server/engine/executor.h"

namespace denoise {

// Makes tasks of chains' next rows, runs them, and keeps what came of each. Its buffers are used
// again at every tick.
class RowBatch {
 public:
  struct Outcome {
    size_t chain = 0;      // index
    bool last = false;     // of its chain's rows
    bool publish = false;  // the caller wants the state after it
    // Filled where they are wanted: x also after the last row.
    std::vector<float> x;
    std::vector<float> x0;
    std::vector<float> answer;
    // x and x0 through the decoder, where they are wanted so; empty otherwise.
    std::vector<float> decoded_x;
    std::vector<float> decoded_x0;
    absl::Status decoder_status;
    TermValues term;
    // Of what the row has changed or found, where status is OK.
    bool finite = true;
    absl::Status status;
  };

  // A task for the next row of each chain of `picks` (indices of `chains`), which is moved past it;
  // where a chain is named several times, of its next rows. What the tasks refer to is the chains'
  // requests'.
  void Make(absl::Span<const size_t> picks, absl::Span<Chain> chains);

  // Runs them. A batch that fails is tried again in smaller parts, so that only the failing rows
  // fail.
  void Run(Executor& executor);

  size_t size() const { return tasks_.size(); }
  const RowTask& task(size_t i) const { return tasks_[i]; }
  Outcome& outcome(size_t i) { return outcomes_[i]; }
  // Of the last Run, in the denoiser.
  double denoiser_seconds() const { return denoiser_seconds_; }

 private:
  void WantOutputs(const Chain& chain, RowTask& task, Outcome& outcome);
  void RunPart(Executor& executor, size_t first, size_t count);

  std::vector<RowTask> tasks_;
  std::vector<Outcome> outcomes_;  // at least as many
  std::unique_ptr<bool[]> finite_;
  size_t finite_size_ = 0;
  double denoiser_seconds_ = 0;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_ROW_BATCH_H_
