// Runs batches of rows on LibTorch.
#ifndef DENOISE_SERVER_MODEL_CHAIN_TORCH_EXECUTOR_H_
#define DENOISE_SERVER_MODEL_CHAIN_TORCH_EXECUTOR_H_

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "server/engine/executor.h"
#include "server/model/chain/batch_noise.h"
#include "server/model/chain/likelihood_term.h"
#include "server/model/chain/noise.h"
#include "server/model/chain/row_update.h"
#include "server/model/chain/term_noise.h"
#include "server/model/denoiser/batch_inputs.h"
#include "server/model/denoiser/decoder.h"
#include "server/model/denoiser/denoiser.h"

namespace denoise {

// The denoiser's call on its device, everything else on the CPU. See Executor for the contract;
// every function runs on the thread that made it.
class TorchExecutor : public Executor {
 public:
  // `decoder`: null for models without. `core_is_free`: for noise to be drawn while the denoiser
  // runs. RESOURCE_EXHAUSTED where memory ran out.
  static absl::StatusOr<std::unique_ptr<Executor>> Make(std::shared_ptr<const ModelInfo> info,
                                                        std::shared_ptr<const Denoiser> denoiser,
                                                        std::shared_ptr<const Decoder> decoder,
                                                        bool core_is_free = false);

  const ModelInfo& model() const override { return *info_; }
  absl::StatusOr<SlotId> Start(const ChainStart& start) override;
  void Free(SlotId slot) override;
  std::unique_ptr<ChainState> Extract(SlotId slot) override;
  absl::StatusOr<SlotId> Adopt(std::unique_ptr<ChainState> state) override;
  void Read(SlotId slot, float* x) override;
  absl::Status Execute(absl::Span<const RowTask> tasks, int64_t padded_rows,
                       absl::Span<bool> finite) override;
  double denoiser_seconds() const override { return denoiser_seconds_; }
  absl::Status Decode(absl::Span<const DecodeTask> tasks, absl::Span<bool> finite) override;

 private:
  // A chain's state.
  struct Slot {
    int num_registers = 0;
    bool keeps_noise = false;
    // [num_registers, C·H·W], and where noise is kept one more for it; null: free.
    std::unique_ptr<float[]> registers;
    std::optional<NoiseStream> noise;       // of stochastic chains
    std::unique_ptr<TermNoise> term_noise;  // of a likelihood that has run
  };

  struct MovedSlot;

  TorchExecutor(std::shared_ptr<const ModelInfo> info, std::shared_ptr<const Denoiser> denoiser,
                std::shared_ptr<const Decoder> decoder, bool core_is_free);

  SlotId Keep(Slot slot);  // throws where there is no memory
  absl::Status Check(absl::Span<const RowTask> tasks, int64_t rows, int64_t padded_rows) const;
  absl::Status PrepareTerms(absl::Span<const RowTask> tasks);
  // In the order in which Update takes it.
  absl::Status WantNoise(absl::Span<const RowTask> tasks);
  // What the denoiser is given for a task, [C·H·W]; valid until the next call.
  const float* InputOf(const RowTask& task);
  // Fills the inputs with the tasks' rows (conditional, then unconditional), pads and calls.
  absl::Status CallDenoiser(absl::Span<const RowTask> tasks, int64_t rows, int64_t padded_rows);
  // `out`: the answer's first row for this task.
  bool Update(const RowTask& task, const float* out);
  bool FinishTerm(const RowTask& task, const float* out);

  const std::shared_ptr<const ModelInfo> info_;
  const std::shared_ptr<const Denoiser> denoiser_;
  const std::shared_ptr<const Decoder> decoder_;
  const int64_t values_;        // C·H·W
  const int64_t out_channels_;  // C or 2C
  const int64_t out_values_;    // of a row of the answer
  const ValueLevels levels_;    // of a sample's values

  std::deque<Slot> slots_;  // never moved as it grows
  std::vector<SlotId> free_;

  BatchInputs inputs_;
  at::Tensor out_;             // of the last call, [padded_rows, out_channels, H, W], contiguous
  std::vector<float> x_t_;     // of one term, [C·H·W]
  at::Tensor scratch_;         // of UpdateRow, [C·H·W]
  NoiseStream initial_noise_;  // of chains that draw x_T and nothing more; reseeded for each
  at::Tensor x_T_;             // of one chain, [C·H·W]
  BatchNoise noise_;           // of rows that draw some
  double denoiser_seconds_ = 0;
  at::Tensor latents_;  // of the decoder's calls, [max_rows, C, H, W]; undefined without one
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_CHAIN_TORCH_EXECUTOR_H_
