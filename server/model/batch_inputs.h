// The tensors that a denoiser is called with, filled row by row.
#ifndef DENOISE_SERVER_MODEL_BATCH_INPUTS_H_
#define DENOISE_SERVER_MODEL_BATCH_INPUTS_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser.h"

namespace denoise {

// Memory for `max_rows` rows, used again for every batch. Not thread-safe.
class BatchInputs {
 public:
  // Every row starts as x = 0, t = 0, y = 0. May throw, as LibTorch does, where memory runs out.
  BatchInputs(const SampleShape& shape, Layout layout, bool integer_time, int64_t max_rows);

  int64_t max_rows() const { return max_rows_; }

  // x: [C·H·W], contiguous. Integer time takes the nearest whole t.
  void Set(int64_t row, const float* x, double t, int64_t y);
  // Makes the rows `begin` to `end` (not included) copies of row 0.
  void Pad(int64_t begin, int64_t end);

  // Calls the denoiser on the first `rows` rows; answers what it answered.
  absl::StatusOr<at::Tensor> Run(const Denoiser& denoiser, int64_t rows) const;

 private:
  void SetX(int64_t row, const float* x);

  const SampleShape shape_;
  const Layout layout_;
  const bool integer_time_;
  const int64_t max_rows_;
  at::Tensor x_;  // [max_rows, C, H, W]
  at::Tensor t_;  // [max_rows]
  at::Tensor y_;  // [max_rows]
  float* x_data_;
  float* float_t_data_ = nullptr;  // one of these two
  int64_t* integer_t_data_ = nullptr;
  int64_t* y_data_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_BATCH_INPUTS_H_
