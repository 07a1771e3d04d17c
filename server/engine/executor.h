// The engine's whole view of LibTorch: chain slots, and batches of rows run on them.
#ifndef DENOISE_SERVER_ENGINE_EXECUTOR_H_
#define DENOISE_SERVER_ENGINE_EXECUTOR_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/diffusion/likelihood.h"
#include "server/diffusion/table.h"
#include "server/engine/conditions.h"
#include "server/engine/model_info.h"

namespace denoise {

// Identifies a chain's registers within one executor.
using SlotId = int32_t;

// A chain at its start.
struct ChainStart {
  int registers = 1;
  // Seeds the chain's noise stream, whose first draw is x_T unless `x` is given (then nothing is
  // drawn).
  uint64_t seed = 0;
  // Whether further noise will be drawn; if not, no generator is kept.
  bool stochastic = false;
  // [C·H·W] values, copied, in place of the first draw; empty: a draw. Every register starts as
  // these values times `scale`, plus `image` times `image_scale`.
  absl::Span<const float> x;
  double scale = 1;
  absl::Span<const float> image;  // [C·H·W] or empty
  double image_scale = 0;
  // Whether the first draw (or x) is kept for rows that blend with it.
  bool keep_noise = false;
};

// One row of one chain.
struct RowTask {
  SlotId slot = 0;
  const Row* row = nullptr;
  // Class given to the denoiser; ignored by models without classes.
  int64_t label = 0;
  // Of the chain in its request: which row of the conditions is its own.
  uint32_t sample = 0;
  // For models with further inputs; all tasks of a batch have SameShapes. They outlive the call.
  const Conditions* conditions = nullptr;
  // Where guided: a second denoiser row with `negative_label` and `negative_conditions`, and
  // out ← out_u + guidance (out_c - out_u) on the first C channels; with r = guidance_rescale > 0
  // then out ← r out std(out_c)/std(out) + (1-r) out, std over the sample, unbiased.
  bool guided = false;
  int64_t negative_label = 0;
  const Conditions* negative_conditions = nullptr;
  float guidance = 1;
  float guidance_rescale = 0;
  // For rows that blend: [C·H·W] values each, which outlive the call.
  const float* known = nullptr;
  const float* mask = nullptr;
  // For rows of a likelihood: the row's term, its number in the table, and where its values go. The
  // chain's x is x_0 and stays. A slot may have several such tasks in one batch, in ascending
  // `term_index`: its noise is drawn one term after another, and a term that is tried again has the
  // same.
  const Term* term = nullptr;
  size_t term_index = 0;
  TermValues* term_values = nullptr;
  // Where not null, the denoiser's answer is written there as it came, [C·H·W] values, or [2C·H·W]
  // where the variance is learned. For rows that call the denoiser and are not guided.
  float* answer_out = nullptr;
  // Where not null, [C·H·W] values of x after the row and of its x̂0 are written there.
  float* x_out = nullptr;
  float* x0_out = nullptr;

  int denoiser_rows() const { return row->denoise ? (guided ? 2 : 1) : 0; }
};

// A sample that is to be decoded. Both ends outlive the call.
struct DecodeTask {
  const float* latents = nullptr;  // [C·H·W] values
  float* out = nullptr;            // as many as model().decoder->format.shape has
};

// A chain's state outside of any executor: registers, kept noise, generator. May be destroyed on
// any thread.
class ChainState {
 public:
  virtual ~ChainState() = default;
};

// Used by one engine thread only, which also makes and destroys it.
class Executor {
 public:
  virtual ~Executor() = default;

  virtual const ModelInfo& model() const = 0;

  // Takes a slot and fills it. RESOURCE_EXHAUSTED where there is no memory for it.
  virtual absl::StatusOr<SlotId> Start(const ChainStart& start) = 0;
  virtual void Free(SlotId slot) = 0;

  // Takes a chain out, as Free does, with its state. Null where there is no memory for that; then
  // nothing has happened.
  virtual std::unique_ptr<ChainState> Extract(SlotId slot) = 0;
  // Goes on with a chain that another executor of the same kind and model, perhaps on another
  // thread, has extracted: with the same bits, were it its own. RESOURCE_EXHAUSTED as Start.
  virtual absl::StatusOr<SlotId> Adopt(std::unique_ptr<ChainState> state) = 0;

  // Copies a chain's x, [C·H·W] values.
  virtual void Read(SlotId slot, float* x) = 0;

  // Runs `tasks` (each of another slot, but for terms): the denoiser rows in one call, padded to
  // `padded_rows` (at least their sum; one of the model's batch sizes; 0 if no task calls the
  // denoiser), then every task's update. `finite[i]` tells whether task i's registers, or its
  // term's values, are finite afterwards. On an error nothing of any chain has changed: INTERNAL
  // where the denoiser threw or answered in another shape, RESOURCE_EXHAUSTED where memory ran out.
  virtual absl::Status Execute(absl::Span<const RowTask> tasks, int64_t padded_rows,
                               absl::Span<bool> finite) = 0;

  // Time that the denoiser call of the last Execute took; 0 if it made none.
  virtual double denoiser_seconds() const { return 0; }

  // Runs the decoder on all of `tasks` in one call, at most model().decoder->max_rows of them;
  // `finite[i]` tells whether what it made of task i is. On an error nothing of use was written:
  // INTERNAL where the decoder threw or answered in another shape, RESOURCE_EXHAUSTED where memory
  // ran out. For models with a decoder.
  virtual absl::Status Decode(absl::Span<const DecodeTask> /*tasks*/, absl::Span<bool> /*finite*/) {
    return absl::InternalError("there is no decoder");
  }
};

// Makes a replica's executor; called on the engine thread that will own it.
using ExecutorFactory = std::function<absl::StatusOr<std::unique_ptr<Executor>>()>;

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_EXECUTOR_H_
