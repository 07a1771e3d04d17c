// Decodes the outcomes of a tick.
#ifndef DENOISE_SERVER_ENGINE_DECODING_H_
#define DENOISE_SERVER_ENGINE_DECODING_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "server/diffusion/table.h"
#include "server/engine/chain.h"
#include "server/engine/executor.h"
#include "server/engine/row_batch.h"

namespace denoise {

// Gathers what callers want decoded of a batch's outcomes, of one model, and has it decoded in as
// few calls as may be. Its buffers are used again; where nobody decodes it takes none.
class Decoding {
 public:
  // Of the chain's state after `row`, or of x_T where that is null, what its request wants decoded:
  // contents of the state if the outcome is published, and the result if it is the chain's last.
  // Left out is what nobody could get: where the row or the request has failed, and states that a
  // slow reader would lose (EventStream::Decline). `outcome` stays where it is until Run.
  void Add(const Chain& chain, const Row* row, RowBatch::Outcome* outcome);
  bool empty() const { return tasks_.empty(); }

  // Fills decoded_x, decoded_x0 and decoder_status of those outcomes, and forgets them. A call that
  // fails is tried again in smaller parts, so that only the failing ones fail.
  void Run(Executor& executor);

 private:
  void Want(const std::vector<float>& latents, size_t values, std::vector<float>* decoded,
            RowBatch::Outcome* outcome);
  void RunPart(Executor& executor, size_t first, size_t count);

  std::vector<DecodeTask> tasks_;
  std::vector<RowBatch::Outcome*> outcomes_;  // of tasks_
  std::unique_ptr<bool[]> finite_;
  size_t finite_size_ = 0;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_DECODING_H_
