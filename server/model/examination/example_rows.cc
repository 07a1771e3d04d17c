#include "server/model/examination/example_rows.h"

#include <cstring>

#include "ATen/ops/empty.h"
#include "c10/core/InferenceMode.h"
#include "server/model/chain/noise.h"

namespace denoise {
namespace {

std::vector<float> Normal(int64_t count, uint64_t seed) {
  const c10::InferenceMode inference;
  at::Tensor values = at::empty({count}, at::kFloat);
  NoiseStream(seed).Draw(values);
  const auto* const begin = values.const_data_ptr<float>();
  return std::vector<float>(begin, begin + count);
}

// Element `e` of row `row`, of `elements`, in place of a random number.
template <typename T>
T Pattern(int row, int64_t e, int64_t elements);
template <>
int64_t Pattern(int row, int64_t e, int64_t /*elements*/) {
  return (row + e) % 2;
}
template <>
bool Pattern(int row, int64_t e, int64_t elements) {
  return elements == 1 ? row % 2 == 0 : e == 0 || e % 3 != row % 3;
}

template <typename T>
void FillPattern(int64_t elements, char* data) {
  for (int row = 0; row < ExampleRows::kRows; ++row) {
    for (int64_t e = 0; e < elements; ++e) {
      const T value = Pattern<T>(row, e, elements);
      std::memcpy(data + (row * elements + e) * sizeof(T), &value, sizeof(T));
    }
  }
}

template <typename T>
void FillNull(const std::vector<double>& null_value, int64_t elements, char* data) {
  for (int64_t e = 0; e < elements; ++e) {
    const auto value = static_cast<T>(null_value[null_value.size() == 1 ? 0 : e]);
    std::memcpy(data + e * sizeof(T), &value, sizeof(T));
  }
}

Condition MakeCondition(const ModelInput& input, int64_t open_extent, uint64_t seed) {
  Condition condition;
  condition.type = input.type;
  int64_t elements = 1;
  for (const int64_t extent : input.shape) {
    condition.shape.push_back(extent < 0 ? open_extent : extent);
    elements *= condition.shape.back();
  }
  condition.row_bytes = elements * BytesOf(input.type);
  condition.data.resize(ExampleRows::kRows * condition.row_bytes);
  char* const data = condition.data.data();
  switch (input.type) {
    case ElementType::kFloat32: {
      const std::vector<float> values = Normal(ExampleRows::kRows * elements, seed);
      std::memcpy(data, values.data(), condition.data.size());
      if (input.null_value.has_value()) FillNull<float>(*input.null_value, elements, data);
      break;
    }
    case ElementType::kInt64:
      FillPattern<int64_t>(elements, data);
      if (input.null_value.has_value()) FillNull<int64_t>(*input.null_value, elements, data);
      break;
    case ElementType::kBool:
      FillPattern<bool>(elements, data);
      if (input.null_value.has_value()) FillNull<bool>(*input.null_value, elements, data);
      break;
  }
  return condition;
}

}  // namespace

ExampleRows::ExampleRows(const ModelInfo& info, int64_t open_extent)
    : values_(info.shape.values()), pictures_(Normal(kRows * values_, 0)) {
  for (const ModelInput& input : info.inputs) {
    if (input.kind != ModelInput::Kind::kCondition) continue;
    conditions_.push_back(MakeCondition(input, open_extent, 1 + conditions_.size()));
  }
}

}  // namespace denoise
