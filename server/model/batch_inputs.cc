#include "server/model/batch_inputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ATen/ops/zeros.h"
#include "c10/core/InferenceMode.h"
#include "server/model/torch_error.h"

namespace denoise {

BatchInputs::BatchInputs(const SampleShape& shape, Layout layout, bool integer_time,
                         int64_t max_rows)
    : shape_(shape), layout_(layout), integer_time_(integer_time), max_rows_(max_rows) {
  const c10::InferenceMode inference;
  x_ = EmptyInput({max_rows, shape.channels, shape.height, shape.width}, layout).zero_();
  t_ = at::zeros({max_rows}, integer_time ? at::kLong : at::kFloat);
  y_ = at::zeros({max_rows}, at::kLong);
  x_data_ = x_.mutable_data_ptr<float>();
  y_data_ = y_.mutable_data_ptr<int64_t>();
  if (integer_time) {
    integer_t_data_ = t_.mutable_data_ptr<int64_t>();
  } else {
    float_t_data_ = t_.mutable_data_ptr<float>();
  }
}

void BatchInputs::SetX(int64_t row, const float* x) {
  float* const to = x_data_ + row * shape_.values();
  if (layout_ == Layout::kContiguous || shape_.channels == 1) {
    std::memcpy(to, x, shape_.values() * sizeof(float));
    return;
  }
  const int64_t pixels = shape_.height * shape_.width;
  for (int64_t c = 0; c < shape_.channels; ++c) {
    for (int64_t i = 0; i < pixels; ++i) to[i * shape_.channels + c] = x[c * pixels + i];
  }
}

void BatchInputs::Set(int64_t row, const float* x, double t, int64_t y) {
  SetX(row, x);
  if (integer_time_) {
    integer_t_data_[row] = std::llround(t);
  } else {
    float_t_data_[row] = static_cast<float>(t);
  }
  y_data_[row] = y;
}

void BatchInputs::Pad(int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    // A batch's rows lie one after another in both layouts.
    std::memcpy(x_data_ + row * shape_.values(), x_data_, shape_.values() * sizeof(float));
    if (integer_time_) {
      integer_t_data_[row] = integer_t_data_[0];
    } else {
      float_t_data_[row] = float_t_data_[0];
    }
    y_data_[row] = y_data_[0];
  }
}

absl::StatusOr<at::Tensor> BatchInputs::Run(const Denoiser& denoiser, int64_t rows) const {
  try {
    const c10::InferenceMode inference;
    return denoiser.Run(x_.narrow(0, 0, rows), t_.narrow(0, 0, rows), y_.narrow(0, 0, rows));
  } catch (...) {
    return CurrentExceptionStatus();
  }
}

}  // namespace denoise
