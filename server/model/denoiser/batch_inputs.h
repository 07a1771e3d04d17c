// The tensors that a denoiser is called with, filled row by row.
#ifndef DENOISE_SERVER_MODEL_DENOISER_BATCH_INPUTS_H_
#define DENOISE_SERVER_MODEL_DENOISER_BATCH_INPUTS_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/conditions.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/denoiser.h"

namespace denoise {

// What a row gives the inputs after x and t.
struct FurtherInputs {
  int64_t label = 0;  // not looked at by models without classes
  // Not null for models with conditions; `sample`: which row of them.
  const Conditions* conditions = nullptr;
  uint32_t sample = 0;
};

// Memory for `max_rows` rows, used again for every batch; that of conditions grows with what is
// asked for, and is given back where a later batch needs far less. Not thread-safe.
class BatchInputs {
 public:
  // In the layout, and in memory, that suits `denoiser`. Every row starts as x = 0, t = 0, label 0.
  // May throw, as LibTorch does, where memory runs out.
  BatchInputs(const ModelInfo& info, const Denoiser& denoiser, bool integer_time, int64_t max_rows);

  int64_t max_rows() const { return max_rows_; }

  // Makes room for a batch of `rows` rows whose conditions have the shapes of `conditions`, one of
  // theirs. Before Set; what was set before is lost. INTERNAL where the model has other conditions,
  // RESOURCE_EXHAUSTED where memory runs out.
  absl::Status Begin(int64_t rows, const Conditions* conditions);
  // x: [C·H·W], contiguous. Integer time takes the nearest whole t. Conditions of the shapes that
  // the batch was begun with.
  void Set(int64_t row, const float* x, double t, const FurtherInputs& further);
  // Makes the rows `begin` to `end` (not included) copies of row 0.
  void Pad(int64_t begin, int64_t end);

  // Calls the denoiser on the first `rows` rows, of those begun with; answers what it answered.
  absl::StatusOr<at::Tensor> Run(const Denoiser& denoiser, int64_t rows) const;

 private:
  // Memory of a condition.
  struct ConditionRows {
    size_t input = 0;     // in inputs_
    at::Tensor memory{};  // 1-D
    at::Tensor tensor{};  // [rows, …], the memory's beginning
    char* data = nullptr;
    size_t row_bytes = 0;
  };

  void SetX(int64_t row, const float* x);
  absl::Status Begin(int64_t rows, const Condition& condition, ConditionRows* to);

  const SampleShape shape_;
  const std::vector<ModelInput> inputs_;
  const Layout layout_;
  const c10::Device device_;
  const bool integer_time_;
  const int64_t max_rows_;
  at::Tensor x_;  // [max_rows, C, H, W]
  at::Tensor t_;  // [max_rows]
  at::Tensor y_;  // [max_rows]
  std::vector<ConditionRows> conditions_;
  float* x_data_;
  float* float_t_data_ = nullptr;  // one of these two
  int64_t* integer_t_data_ = nullptr;
  int64_t* y_data_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_BATCH_INPUTS_H_
