#include "server/rpc/inference/api_fields.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

// The input that a field of the API is, without what follows the name.
std::string InputName(absl::string_view name, const InferModel& model) {
  if (name == "class_labels") return LabelName(*model.info, model.kind);
  if (name == "negative_class_labels") return "negative_class_label";
  return std::string(name);
}

}  // namespace

absl::StatusOr<ConditionMap> TakeConditions(const InferModel& model,
                                            std::vector<InferTensor>* tensors) {
  ConditionMap conditions;
  for (const ModelInput& input : model.info->inputs) {
    if (input.kind != ModelInput::Kind::kCondition) continue;
    std::optional<InferTensor> given = TakeInput(ConditionName(input, model.kind), tensors);
    if (!given.has_value()) continue;
    absl::StatusOr<v1::Tensor> tensor = ToTensor(*std::move(given), InferTypeOf(input.type));
    if (!tensor.ok()) return tensor.status();
    conditions[input.name] = *std::move(tensor);
  }
  return conditions;
}

absl::Status InTermsOfInputs(const absl::Status& status, const InferModel& model) {
  const std::optional<std::string> field = FieldOf(status);
  if (!field.has_value()) return status;
  absl::string_view rest = *field;
  std::string name;
  if (absl::ConsumePrefix(&rest, "conditions")) {
    if (!absl::ConsumePrefix(&rest, "[\"")) {  // of them all
      return FieldError("inputs", absl::StripPrefix(status.message(), absl::StrCat(*field, ": ")));
    }
    const size_t end = rest.find("\"]");
    if (end == rest.npos) return status;
    const std::string condition(rest.substr(0, end));
    rest.remove_prefix(end + 2);
    name = condition;
    for (const ModelInput& input : model.info->inputs) {
      if (input.name == condition) name = ConditionName(input, model.kind);
    }
  } else if (*field == "encoding") {
    return FieldError("outputs[\"png\"]",
                      absl::StripPrefix(status.message(), absl::StrCat(*field, ": ")));
  } else if (*field == "sampler.kind" || *field == "sampler") {
    rest = "";
    name = "sampler";
  } else {
    if (!absl::ConsumePrefix(&rest, "sampler.")) absl::ConsumePrefix(&rest, "states.");
    const size_t end = std::min(rest.size(), rest.find_first_of(".["));
    name = InputName(rest.substr(0, end), model);
    rest.remove_prefix(end);
  }
  bool known = false;
  for (const TensorSpec& spec : InputsOf(model)) known = known || spec.name == name;
  if (!known) return status;
  return FieldError(absl::StrCat("inputs[", Quote(name), "]", rest),
                    absl::StripPrefix(status.message(), absl::StrCat(*field, ": ")));
}

}  // namespace denoise
