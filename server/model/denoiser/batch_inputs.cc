#include "server/model/denoiser/batch_inputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ATen/ops/empty.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "c10/core/InferenceMode.h"
#include "server/model/runtime/device_call.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {
namespace {

// Of a condition, memory that is kept whatever the next batch needs.
constexpr size_t kKeptBytes = size_t{64} << 20;

at::ScalarType TypeOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return at::kFloat;
    case ElementType::kInt64:
      return at::kLong;
    case ElementType::kBool:
      return at::kBool;
  }
  return at::kFloat;
}

}  // namespace

BatchInputs::BatchInputs(const ModelInfo& info, const Denoiser& denoiser, bool integer_time,
                         int64_t max_rows)
    : shape_(info.shape),
      inputs_(info.inputs),
      layout_(denoiser.layout()),
      device_(denoiser.device()),
      integer_time_(integer_time),
      max_rows_(max_rows) {
  const c10::InferenceMode inference;
  x_ = EmptyInput({max_rows, shape_.channels, shape_.height, shape_.width}, layout_, device_);
  x_.zero_();
  t_ = at::zeros({max_rows}, HostMemory(integer_time ? at::kLong : at::kFloat, device_));
  y_ = at::zeros({max_rows}, HostMemory(at::kLong, device_));
  x_data_ = x_.mutable_data_ptr<float>();
  y_data_ = y_.mutable_data_ptr<int64_t>();
  if (integer_time) {
    integer_t_data_ = t_.mutable_data_ptr<int64_t>();
  } else {
    float_t_data_ = t_.mutable_data_ptr<float>();
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].kind == ModelInput::Kind::kCondition) conditions_.push_back({.input = i});
  }
}

absl::Status BatchInputs::Begin(int64_t rows, const Conditions* conditions) {
  if (conditions_.empty()) return absl::OkStatus();
  if (conditions == nullptr || conditions->size() != conditions_.size()) {
    return absl::InternalError("a row does not have the conditions that the model takes");
  }
  for (size_t i = 0; i < conditions_.size(); ++i) {
    if (absl::Status status = Begin(rows, (*conditions)[i], &conditions_[i]); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status BatchInputs::Begin(int64_t rows, const Condition& condition, ConditionRows* to) try {
  const ModelInput& input = inputs_[to->input];
  int64_t elements = 1;
  for (const int64_t extent : condition.shape) elements *= extent;
  to->row_bytes = elements * BytesOf(input.type);
  if (condition.type != input.type || condition.row_bytes != to->row_bytes) {
    return absl::InternalError(
        absl::StrCat("a row's condition ", input.name, " is not as the model takes it"));
  }
  const c10::InferenceMode inference;
  const size_t needed = rows * to->row_bytes;
  const size_t have = to->memory.defined() ? to->memory.nbytes() : 0;
  if (have < needed || (have > kKeptBytes && have / 2 > needed)) {
    to->tensor.reset();
    to->memory.reset();
    to->memory = at::empty({rows * elements}, HostMemory(TypeOf(input.type), device_));
    to->data = static_cast<char*>(to->memory.mutable_data_ptr());
  }
  std::vector<int64_t> sizes = {rows};
  sizes.insert(sizes.end(), condition.shape.begin(), condition.shape.end());
  to->tensor = to->memory.narrow(0, 0, rows * elements).view(sizes);
  return absl::OkStatus();
} catch (...) {
  return CurrentExceptionStatus();
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

void BatchInputs::Set(int64_t row, const float* x, double t, const FurtherInputs& further) {
  SetX(row, x);
  if (integer_time_) {
    integer_t_data_[row] = std::llround(t);
  } else {
    float_t_data_[row] = static_cast<float>(t);
  }
  y_data_[row] = further.label;
  for (size_t i = 0; i < conditions_.size(); ++i) {
    const ConditionRows& to = conditions_[i];
    std::memcpy(to.data + row * to.row_bytes, (*further.conditions)[i].row(further.sample),
                to.row_bytes);
  }
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
    for (const ConditionRows& to : conditions_) {
      std::memcpy(to.data + row * to.row_bytes, to.data, to.row_bytes);
    }
  }
}

absl::StatusOr<at::Tensor> BatchInputs::Run(const Denoiser& denoiser, int64_t rows) const {
  try {
    const c10::InferenceMode inference;
    std::vector<at::Tensor> further;
    further.reserve(inputs_.size());
    auto condition = conditions_.begin();
    for (const ModelInput& input : inputs_) {
      const bool is_label = input.kind == ModelInput::Kind::kClassLabels;
      further.push_back((is_label ? y_ : condition++->tensor).narrow(0, 0, rows));
    }
    return denoiser.Run(x_.narrow(0, 0, rows), t_.narrow(0, 0, rows), further);
  } catch (...) {
    return CurrentExceptionStatus();
  }
}

}  // namespace denoise
