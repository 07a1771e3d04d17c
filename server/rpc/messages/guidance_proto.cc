#include "server/rpc/messages/guidance_proto.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/conditions_proto.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

// Past it float32 has no digits left for the difference that is scaled.
constexpr float kMaxGuidance = 1000;

absl::Status CheckLabel(int64_t label, const ModelInfo& model, absl::string_view field) {
  if ((label >= 0 && label < model.num_classes) || label == model.null_class) {
    return absl::OkStatus();
  }
  const std::string null_class =
      model.null_class.has_value() ? absl::StrCat(", nor the null class ", *model.null_class) : "";
  return FieldError(field,
                    absl::StrCat(label, " is not in 0..", model.num_classes - 1, null_class));
}

// `given`, which is not empty, checked and spread over the samples.
absl::StatusOr<std::vector<int64_t>> Spread(const LabelList& given, const ModelInfo& model,
                                            uint32_t num_samples, absl::string_view field) {
  if (model.num_classes == 0) {
    return FieldError(field, absl::StrCat(given.size(), " given, but ", Quote(model.name),
                                          " has no classes; leave them out"));
  }
  if (given.size() != 1 && static_cast<uint32_t>(given.size()) != num_samples) {
    return FieldError(field, absl::StrCat(given.size(), " labels for ", num_samples,
                                          " samples; give none, one, or one a sample"));
  }
  for (int i = 0; i < given.size(); ++i) {
    if (absl::Status status = CheckLabel(given[i], model, absl::StrCat(field, "[", i, "]"));
        !status.ok()) {
      return status;
    }
  }
  if (given.size() == 1) return std::vector<int64_t>(num_samples, given[0]);
  return std::vector<int64_t>(given.begin(), given.end());
}

bool HasNullCondition(const ModelInfo& model) {
  return std::any_of(model.inputs.begin(), model.inputs.end(), [](const ModelInput& input) {
    return input.kind == ModelInput::Kind::kCondition && input.null_value.has_value();
  });
}

// Whether there is anything to lead away from.
bool HasNegative(const v1::SampleRequest& message, const ModelInfo& model) {
  return model.null_class.has_value() || HasNullCondition(model) ||
         !message.negative_class_labels().empty() || !message.negative_conditions().empty();
}

bool NamesInputs(const v1::SampleRequest& message) {
  return !message.class_labels().empty() || !message.conditions().empty() ||
         !message.negative_class_labels().empty() || !message.negative_conditions().empty();
}

absl::StatusOr<float> ScaleOf(const v1::SampleRequest& message, const ModelInfo& model) {
  if (!message.has_guidance_scale()) {
    const bool by_default = NamesInputs(message) && HasNegative(message, model);
    return by_default ? model.default_guidance_scale : 1.0f;
  }
  const float scale = message.guidance_scale();
  // Written so that NaN fails.
  if (!(std::abs(scale) <= kMaxGuidance)) {
    return FieldError("guidance_scale",
                      absl::StrCat(scale, " is not in -", kMaxGuidance, "..", kMaxGuidance));
  }
  return scale;
}

// The options of guidance do nothing without it.
absl::Status CheckUnused(const v1::SampleRequest& message, float scale) {
  const auto unused = [scale](absl::string_view field, absl::string_view value) {
    return FieldError(field, absl::StrCat(value, " does nothing at a guidance scale of ", scale,
                                          "; set guidance_scale, or leave it out"));
  };
  if (message.guidance_rescale() != 0) {
    return unused("guidance_rescale", absl::StrCat(message.guidance_rescale()));
  }
  if (message.has_guidance_interval()) {
    return unused("guidance_interval", absl::StrCat(message.guidance_interval().sigma_min(), "..",
                                                    message.guidance_interval().sigma_max()));
  }
  if (!message.negative_class_labels().empty()) {
    return unused("negative_class_labels", absl::StrCat(message.negative_class_labels(0)));
  }
  if (!message.negative_conditions().empty()) {
    return unused("negative_conditions", Quote(message.negative_conditions().begin()->first));
  }
  return absl::OkStatus();
}

absl::Status SetRescale(const v1::SampleRequest& message, Request* request) {
  const float rescale = message.guidance_rescale();
  if (!(rescale >= 0 && rescale <= 1)) {
    return FieldError("guidance_rescale", absl::StrCat(rescale, " is not in 0..1"));
  }
  request->guidance_rescale = rescale;
  return absl::OkStatus();
}

absl::Status SetInterval(const v1::GuidanceInterval& interval, Request* request) {
  const float min = interval.sigma_min();
  const float max = interval.sigma_max();
  if (!(min >= 0 && std::isfinite(min))) {
    return FieldError("guidance_interval.sigma_min",
                      absl::StrCat(min, " is not a finite number from 0 on"));
  }
  if (!(max == 0 || (max > min && std::isfinite(max)))) {
    return FieldError("guidance_interval.sigma_max",
                      absl::StrCat(max, " is not a finite number above sigma_min, ", min,
                                   "; give 0 for no upper bound"));
  }
  request->guidance_sigma_min = min;
  request->guidance_sigma_max = max == 0 ? std::numeric_limits<double>::infinity() : max;
  return absl::OkStatus();
}

absl::Status NothingToLeadAwayFrom(float scale, const ModelInfo& model) {
  const bool may_give = model.num_classes > 0 || !model.inputs.empty();
  return FieldError(
      "guidance_scale",
      absl::StrCat(scale, " leads away from a null class or a null condition, and ",
                   Quote(model.name), " has neither; leave it out, or give 1",
                   may_give ? ", or say what to lead away from: negative_class_labels, "
                              "negative_conditions"
                            : ""));
}

absl::Status SetNegatives(const v1::SampleRequest& message, Request* request) {
  const ModelInfo& model = *request->model;
  if (!message.negative_class_labels().empty()) {
    auto labels = Spread(message.negative_class_labels(), model, request->num_samples,
                         "negative_class_labels");
    if (!labels.ok()) return labels.status();
    request->negative_labels = *std::move(labels);
  } else if (model.null_class.has_value() && model.num_classes > 0) {
    request->negative_labels.assign(request->num_samples, *model.null_class);
  } else {
    request->negative_labels = request->labels;
  }
  if (request->conditions) {
    request->negative_conditions = std::make_shared<const Conditions>(
        MakeNegativeConditions(message.negative_conditions(), *request->conditions, model));
  }
  return absl::OkStatus();
}

// Whether the two predictions differ in any input of any sample.
bool NegativesDiffer(const Request& request) {
  if (request.labels != request.negative_labels) return true;
  if (!request.conditions) return false;
  for (size_t i = 0; i < request.conditions->size(); ++i) {
    const Condition& positive = (*request.conditions)[i];
    const Condition& negative = (*request.negative_conditions)[i];
    for (uint32_t sample = 0; sample < request.num_samples; ++sample) {
      if (std::memcmp(positive.row(sample), negative.row(sample), positive.row_bytes) != 0) {
        return true;
      }
      if (positive.one_for_all && negative.one_for_all) break;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> LabelsOf(const LabelList& given, const ModelInfo& model,
                                              uint32_t num_samples) {
  if (!given.empty()) return Spread(given, model, num_samples, "class_labels");
  if (model.num_classes == 0) return std::vector<int64_t>();
  if (model.null_class.has_value()) return std::vector<int64_t>(num_samples, *model.null_class);
  return FieldError("class_labels",
                    absl::StrCat("none given, and ", Quote(model.name),
                                 " has no null class; give one label, or one a sample, each 0..",
                                 model.num_classes - 1));
}

absl::Status SetGuidance(const v1::SampleRequest& message, Request* request) {
  const ModelInfo& model = *request->model;
  const absl::StatusOr<float> scale = ScaleOf(message, model);
  if (!scale.ok()) return scale.status();
  absl::Status status = SetRescale(message, request);
  if (!status.ok()) return status;
  if (*scale == 0 || *scale == 1) return CheckUnused(message, *scale);
  if (message.has_guidance_interval()) {
    status = SetInterval(message.guidance_interval(), request);
    if (!status.ok()) return status;
  }
  if (!HasNegative(message, model)) return NothingToLeadAwayFrom(*scale, model);
  request->guidance = *scale;
  status = SetNegatives(message, request);
  if (!status.ok()) return status;
  request->guided = NegativesDiffer(*request);
  if (!request->guided) {
    request->negative_labels.clear();
    request->negative_conditions = nullptr;
  }
  return absl::OkStatus();
}

}  // namespace denoise
