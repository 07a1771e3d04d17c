#include "server/model/folder/model_json_inputs.h"

#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/model/folder/model_json.h"

namespace denoise {
namespace {

constexpr size_t kMostExtents = 8;
// Null values are held as doubles, which are exact up to here.
constexpr int64_t kMostWhole = int64_t{1} << 53;

// Null where `value` is none of that type.
std::optional<double> NullElement(const Json& value, ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      if (value.is_number() && std::isfinite(value.get<float>())) return value.get<double>();
      break;
    case ElementType::kInt64:
      if (const auto whole = Keys::AsInteger(value, -kMostWhole, kMostWhole)) {
        return static_cast<double>(*whole);
      }
      break;
    case ElementType::kBool:
      if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
      break;
  }
  return std::nullopt;
}

// Elements of one row; -1 where an extent is open.
int64_t ElementsOf(const ModelInput& input) {
  int64_t elements = 1;
  for (const int64_t extent : input.shape) {
    if (extent < 0) return -1;
    elements *= extent;
  }
  return elements;
}

void ReadNull(Keys& keys, ModelInput* input) {
  const Json* value = keys.Find("null");
  if (value == nullptr) return;
  const int64_t elements = ElementsOf(*input);
  std::vector<double> values;
  bool good = true;
  if (value->is_array()) {
    good = static_cast<int64_t>(value->size()) == elements;
    for (size_t i = 0; good && i < value->size(); ++i) {
      const auto element = NullElement((*value)[i], input->type);
      good = element.has_value();
      if (good) values.push_back(*element);
    }
  } else {
    const auto element = NullElement(*value, input->type);
    good = element.has_value();
    if (good) values.push_back(*element);
  }
  if (good) {
    input->null_value = std::move(values);
    return;
  }
  keys.Refuse("null",
              absl::StrCat("one ", std::string(Name(input->type)), " value for all elements",
                           elements < 0 ? ", as a shape with -1 needs it"
                                        : absl::StrCat(", or a flat list of ", elements)));
}

void ReadInputShape(Keys& keys, ModelInput* input) {
  const Json* value = keys.Find("shape");
  bool good = value != nullptr && value->is_array() && value->size() <= kMostExtents;
  int64_t left = kMostValues;
  for (size_t i = 0; good && i < value->size(); ++i) {
    const auto extent = Keys::AsInteger((*value)[i], -1, left);
    good = extent.has_value() && *extent != 0;
    if (!good) break;
    input->shape.push_back(*extent);
    if (*extent > 0) left /= *extent;
  }
  if (good) return;
  input->shape.clear();
  keys.Refuse("shape",
              absl::StrCat("a list of extents without the leading N, such as [77, 768], "
                           "each from 1 on or -1 for any, ",
                           kMostExtents, " of them and ", kMostValues, " elements at most"));
}

void ReadInput(Keys& keys, ModelInput* input) {
  const auto name =
      keys.Text("name", "1 to 128 of A-Z a-z 0-9 . _ -, the first no dot", &IsModelName);
  if (name.has_value()) {
    input->name = *name;
  } else {
    keys.Refuse("name", "the name by which requests give the input");
  }

  constexpr char kKinds[] = "class_labels or condition";
  const auto kind = keys.Text("kind", kKinds, nullptr);
  const bool labels = kind == "class_labels";
  input->kind = labels ? ModelInput::Kind::kClassLabels : ModelInput::Kind::kCondition;
  if (!labels && kind != "condition") keys.Refuse("kind", kKinds);

  const auto type = keys.Text("dtype", "float32, int64 or bool", nullptr);
  bool known = false;
  for (const ElementType each : {ElementType::kFloat32, ElementType::kInt64, ElementType::kBool}) {
    if (type != std::string(Name(each))) continue;
    input->type = each;
    known = true;
  }
  if (labels) {
    // These have one form only, so that it need not be said.
    input->type = ElementType::kInt64;
    if (type.has_value() && type != "int64") keys.Refuse("dtype", "int64, as class_labels are");
    const Json* shape = keys.Find("shape");
    if (shape != nullptr && *shape != Json::array()) {
      keys.Refuse("shape", "[], as class_labels are one number a row");
    }
    if (keys.Find("null") != nullptr) {
      keys.Refuse("null", "read for class_labels: say it as null_class beside num_classes");
    }
    return;
  }
  if (!known) keys.Refuse("dtype", "float32, int64 or bool");
  ReadInputShape(keys, input);
  if (keys.status().ok()) ReadNull(keys, input);
}

}  // namespace

void ReadInputs(Keys& keys, ModelInfo* info, std::vector<std::string>* ignored_keys) {
  constexpr char kName[] = "class_labels";
  const Json* value = keys.Find("inputs");
  if (value == nullptr) {
    if (info->num_classes == 0) return;
    info->inputs.push_back({kName, ModelInput::Kind::kClassLabels, ElementType::kInt64, {}, {}});
    return;
  }
  if (!value->is_array()) {
    keys.Refuse("inputs",
                "a list of what forward takes after x and t, in the order of its arguments");
    return;
  }
  int labels = 0;
  std::set<std::string> names;
  for (size_t i = 0; i < value->size(); ++i) {
    const std::string path = absl::StrCat("inputs[", i, "]");
    if (!(*value)[i].is_object()) {
      keys.Refuse(absl::InvalidArgumentError(
          absl::StrCat("model.json: ", path, ": ", Shown((*value)[i]),
                       " is not an object with name, kind, dtype, shape and perhaps null")));
      return;
    }
    Keys of_input((*value)[i], path + ".");
    ModelInput input;
    ReadInput(of_input, &input);
    if (!names.insert(input.name).second)
      of_input.Refuse("name", "another one than those before it");
    if (!of_input.status().ok()) {
      keys.Refuse(of_input.status());
      return;
    }
    for (std::string& key : of_input.Unknown()) ignored_keys->push_back(std::move(key));
    labels += input.kind == ModelInput::Kind::kClassLabels ? 1 : 0;
    info->inputs.push_back(std::move(input));
  }
  if (labels != (info->num_classes > 0 ? 1 : 0)) {
    keys.Refuse("inputs",
                info->num_classes > 0
                    ? "a list with one input of kind class_labels, as num_classes needs it"
                    : "without class_labels, as num_classes is not given: add it, or take "
                      "them out");
  }
}

}  // namespace denoise
