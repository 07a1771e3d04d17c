#include "server/rpc/messages/conditions_proto.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/tensor_proto.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

using Shape = absl::Span<const int64_t>;

constexpr char kPositive[] = "conditions";
constexpr char kNegative[] = "negative_conditions";

std::vector<const ModelInput*> ConditionInputs(const ModelInfo& model) {
  std::vector<const ModelInput*> inputs;
  for (const ModelInput& input : model.inputs) {
    if (input.kind == ModelInput::Kind::kCondition) inputs.push_back(&input);
  }
  return inputs;
}

const v1::Tensor* Find(const ConditionMap& given, const ModelInput& input) {
  const auto it = given.find(input.name);
  return it == given.end() ? nullptr : &it->second;
}

// Without N.
Shape SampleShapeOf(const v1::Tensor& tensor) {
  return Shape(tensor.shape().data(), tensor.shape_size()).subspan(1);
}

std::string FieldName(absl::string_view map, const ModelInput& input, absl::string_view part) {
  return absl::StrCat(map, "[", Quote(input.name), "].", part);
}

std::string TypeText(ElementType type) { return absl::AsciiStrToUpper(Name(type)); }

// "[1 or 4, -1, 768]".
std::string Wanted(const ModelInput& input, uint32_t num_samples) {
  const std::string n = num_samples == 1 ? "1" : absl::StrCat("1 or ", num_samples);
  return absl::StrCat("[", n, input.shape.empty() ? "" : ", ", absl::StrJoin(input.shape, ", "),
                      "]");
}

// -1: any extent.
bool Fits(Shape shape, Shape wanted) {
  return std::equal(
      shape.begin(), shape.end(), wanted.begin(), wanted.end(),
      [](int64_t extent, int64_t want) { return want == -1 ? extent >= 1 : extent == want; });
}

// Whether the extents and the type make `bytes`. Extents may be as large as int64 goes.
bool HasBytes(Shape shape, ElementType type, uint64_t bytes) {
  uint64_t product = BytesOf(type);
  for (const int64_t extent : shape) {
    if (product > bytes / extent) return false;
    product *= extent;
  }
  return product == bytes;
}

// The first value that is none, as text with its number: a float that is not finite, a bool that is
// neither 0 nor 1.
std::optional<std::string> BadValue(ElementType type, const std::string& data) {
  if (type == ElementType::kFloat32) {
    for (size_t i = 0; i < data.size() / sizeof(float); ++i) {
      float value;
      std::memcpy(&value, data.data() + i * sizeof(float), sizeof(float));
      if (!std::isfinite(value)) {
        return absl::StrCat(value, " (value ", i, ") is not a finite number");
      }
    }
  } else if (type == ElementType::kBool) {
    const auto bad =
        std::find_if(data.begin(), data.end(), [](char c) { return c != 0 && c != 1; });
    if (bad != data.end()) {
      return absl::StrCat(static_cast<int>(static_cast<uint8_t>(*bad)), " (value ",
                          bad - data.begin(), ") is not 0 or 1");
    }
  }
  return std::nullopt;
}

absl::Status CheckTensor(const v1::Tensor& tensor, const ModelInput& input, uint32_t num_samples,
                         absl::string_view map) {
  if (tensor.dtype() != DataTypeOf(input.type)) {
    return FieldError(
        FieldName(map, input, "dtype"),
        absl::StrCat(static_cast<int>(tensor.dtype()), " is not DATA_TYPE_", TypeText(input.type),
                     " (", static_cast<int>(DataTypeOf(input.type)), ")"));
  }
  const bool has_n =
      tensor.shape_size() > 0 && (tensor.shape(0) == 1 || tensor.shape(0) == int64_t{num_samples});
  if (!has_n || !Fits(SampleShapeOf(tensor), input.shape)) {
    return FieldError(FieldName(map, input, "shape"),
                      absl::StrCat(ShapeText(tensor.shape()), " is not ",
                                   Wanted(input, num_samples), " (-1: any extent from 1 on)"));
  }
  if (!HasBytes(tensor.shape(), input.type, tensor.data().size())) {
    return FieldError(FieldName(map, input, "data"),
                      absl::StrCat(tensor.data().size(), " bytes are not those of ",
                                   ShapeText(tensor.shape()), " ", TypeText(input.type)));
  }
  if (const auto bad = BadValue(input.type, tensor.data())) {
    return FieldError(FieldName(map, input, "data"), *bad);
  }
  return absl::OkStatus();
}

absl::Status CheckGiven(const ConditionMap& given, const ModelInfo& model, uint32_t num_samples,
                        uint64_t max_bytes, absl::string_view map) {
  const std::vector<const ModelInput*> inputs = ConditionInputs(model);
  uint64_t bytes = 0;
  const std::string* unknown = nullptr;  // the first in alphabetical order
  for (const auto& [name, tensor] : given) {
    const bool known = std::any_of(inputs.begin(), inputs.end(),
                                   [&name = name](const auto* i) { return i->name == name; });
    if (!known && (unknown == nullptr || name < *unknown)) unknown = &name;
    bytes += tensor.data().size();
  }
  if (unknown != nullptr) {
    const std::string names =
        absl::StrJoin(inputs, ", ", [](std::string* out, const ModelInput* input) {
          absl::StrAppend(out, Quote(input->name));
        });
    return FieldError(
        map, absl::StrCat(Quote(*unknown), " is no condition of ", Quote(model.name), "; ",
                          inputs.empty() ? "it takes none" : absl::StrCat("it takes ", names)));
  }
  for (const ModelInput* input : inputs) {
    const v1::Tensor* tensor = Find(given, *input);
    if (tensor == nullptr) continue;
    if (absl::Status status = CheckTensor(*tensor, *input, num_samples, map); !status.ok()) {
      return status;
    }
  }
  if (bytes > max_bytes) {
    return FieldError(map, absl::StrCat(bytes, " bytes in all are more than the ", max_bytes,
                                        " of a message; send fewer samples a request"));
  }
  return absl::OkStatus();
}

Condition Empty(const ModelInput& input, Shape shape) {
  Condition condition;
  condition.type = input.type;
  condition.shape.assign(shape.begin(), shape.end());
  condition.row_bytes = BytesOf(input.type);
  for (const int64_t extent : shape) condition.row_bytes *= extent;
  return condition;
}

Condition FromTensor(const ModelInput& input, const v1::Tensor& tensor) {
  Condition condition = Empty(input, SampleShapeOf(tensor));
  condition.one_for_all = tensor.shape(0) == 1;
  condition.data.assign(tensor.data().begin(), tensor.data().end());
  return condition;
}

// `null`: one value for all elements, or one an element.
template <typename T>
void Fill(absl::Span<const double> null, std::vector<char>* data) {
  for (size_t i = 0; i < data->size() / sizeof(T); ++i) {
    const auto value = static_cast<T>(null.size() == 1 ? null[0] : null[i]);
    std::memcpy(data->data() + i * sizeof(T), &value, sizeof(T));
  }
}

Condition FromNull(const ModelInput& input, Shape shape) {
  Condition condition = Empty(input, shape);
  condition.one_for_all = true;
  condition.data.resize(condition.row_bytes);
  switch (input.type) {
    case ElementType::kFloat32:
      Fill<float>(*input.null_value, &condition.data);
      break;
    case ElementType::kInt64:
      Fill<int64_t>(*input.null_value, &condition.data);
      break;
    case ElementType::kBool:
      Fill<bool>(*input.null_value, &condition.data);
      break;
  }
  return condition;
}

}  // namespace

absl::Status CheckConditions(const ConditionMap& given, const ModelInfo& model,
                             uint32_t num_samples, uint64_t max_bytes) {
  absl::Status status = CheckGiven(given, model, num_samples, max_bytes, kPositive);
  if (!status.ok()) return status;
  for (const ModelInput* input : ConditionInputs(model)) {
    if (Find(given, *input) != nullptr) continue;
    const bool open = std::count(input->shape.begin(), input->shape.end(), -1) > 0;
    if (input->null_value.has_value() && !open) continue;
    const std::string why = input->null_value.has_value()
                                ? "its null value does not say its extents"
                                : absl::StrCat(Quote(model.name), " has no null value for it");
    return FieldError(kPositive,
                      absl::StrCat(Quote(input->name), " is left out, and ", why, "; give ",
                                   Wanted(*input, num_samples), " ", TypeText(input->type)));
  }
  return absl::OkStatus();
}

absl::Status CheckNegativeConditions(const ConditionMap& given, const ConditionMap& positive,
                                     const ModelInfo& model, uint32_t num_samples,
                                     uint64_t max_bytes) {
  absl::Status status = CheckGiven(given, model, num_samples, max_bytes, kNegative);
  if (!status.ok()) return status;
  for (const ModelInput* input : ConditionInputs(model)) {
    const v1::Tensor* tensor = Find(given, *input);
    if (tensor == nullptr) continue;
    // Both are rows of one denoiser call.
    const v1::Tensor* other = Find(positive, *input);
    const Shape wanted = other != nullptr ? SampleShapeOf(*other) : Shape(input->shape);
    if (SampleShapeOf(*tensor) == wanted) continue;
    return FieldError(
        FieldName(kNegative, *input, "shape"),
        absl::StrCat(ShapeText(tensor->shape()), " is, after the number of samples, not ",
                     ShapeText(wanted), " as the condition itself; give both the same shape"));
  }
  return absl::OkStatus();
}

Conditions MakeConditions(const ConditionMap& given, const ModelInfo& model) {
  Conditions conditions;
  for (const ModelInput* input : ConditionInputs(model)) {
    const v1::Tensor* tensor = Find(given, *input);
    conditions.push_back(tensor != nullptr ? FromTensor(*input, *tensor)
                                           : FromNull(*input, input->shape));
  }
  return conditions;
}

Conditions MakeNegativeConditions(const ConditionMap& given, const Conditions& positive,
                                  const ModelInfo& model) {
  Conditions conditions;
  for (const ModelInput* input : ConditionInputs(model)) {
    const Condition& other = positive[conditions.size()];
    if (const v1::Tensor* tensor = Find(given, *input)) {
      conditions.push_back(FromTensor(*input, *tensor));
    } else if (input->null_value.has_value()) {
      conditions.push_back(FromNull(*input, other.shape));
    } else {
      conditions.push_back(other);
    }
  }
  return conditions;
}

}  // namespace denoise
