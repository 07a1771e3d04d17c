#include "server/rpc/inference/infer_model.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

constexpr char kSampleSuffix[] = ".sample";

struct TypeName {
  InferType type;
  const char* name;
  size_t bytes;
};
constexpr TypeName kTypes[] = {
    {InferType::kBool, "BOOL", 1},     {InferType::kInt32, "INT32", 4},
    {InferType::kUint32, "UINT32", 4}, {InferType::kInt64, "INT64", 8},
    {InferType::kUint64, "UINT64", 8}, {InferType::kFp32, "FP32", 4},
    {InferType::kBytes, "BYTES", 0},
};

// Inputs that every model has, whatever its model.json says.
bool IsTaken(absl::string_view name, InferKind kind) {
  if (kind == InferKind::kDenoiser) return name == "x" || name == "timestep";
  static constexpr const char* kTaken[] = {"num_samples",
                                           "seed",
                                           "steps",
                                           "sampler",
                                           "eta",
                                           "class_label",
                                           "negative_class_label",
                                           "guidance_scale",
                                           "guidance_rescale",
                                           "initial_noise",
                                           "every_n_steps",
                                           "decode"};
  return std::find(std::begin(kTaken), std::end(kTaken), name) != std::end(kTaken);
}

std::vector<int64_t> Batched(const SampleShape& shape) {
  return {-1, shape.channels, shape.height, shape.width};
}

void AddConditions(const InferModel& model, std::vector<TensorSpec>* specs) {
  for (const ModelInput& input : model.info->inputs) {
    if (input.kind != ModelInput::Kind::kCondition) continue;
    TensorSpec spec;
    spec.name = ConditionName(input, model.kind);
    spec.type = InferTypeOf(input.type);
    spec.shape = {-1};
    spec.shape.insert(spec.shape.end(), input.shape.begin(), input.shape.end());
    const bool open = std::count(input.shape.begin(), input.shape.end(), -1) > 0;
    spec.optional = input.null_value.has_value() && !open;
    specs->push_back(std::move(spec));
  }
}

absl::StatusOr<int64_t> VersionOf(absl::string_view text) {
  int64_t version = 0;
  if (text.empty()) return version;
  if (!absl::SimpleAtoi(text, &version) || version < 1) {
    return FieldError("model_version", absl::StrCat(Quote(text),
                                                    " is no version; give a number from 1 on, or "
                                                    "nothing for the newest"));
  }
  return version;
}

}  // namespace

absl::string_view Name(InferType type) {
  for (const TypeName& known : kTypes) {
    if (known.type == type) return known.name;
  }
  return "?";
}

std::optional<InferType> InferTypeOf(absl::string_view name) {
  for (const TypeName& known : kTypes) {
    if (name == known.name) return known.type;
  }
  return std::nullopt;
}

size_t BytesOf(InferType type) {
  for (const TypeName& known : kTypes) {
    if (known.type == type) return known.bytes;
  }
  return 0;
}

InferType InferTypeOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return InferType::kFp32;
    case ElementType::kInt64:
      return InferType::kInt64;
    case ElementType::kBool:
      return InferType::kBool;
  }
  return InferType::kFp32;
}

std::string InferModel::name() const {
  return kind == InferKind::kSampling ? absl::StrCat(info->name, kSampleSuffix) : info->name;
}

std::string ConditionName(const ModelInput& condition, InferKind kind) {
  return IsTaken(condition.name, kind) ? absl::StrCat("condition_", condition.name)
                                       : condition.name;
}

std::string LabelName(const ModelInfo& model, InferKind kind) {
  if (kind == InferKind::kSampling) return "class_label";
  for (const ModelInput& input : model.inputs) {
    if (input.kind == ModelInput::Kind::kClassLabels) return ConditionName(input, kind);
  }
  return "class_labels";
}

std::vector<TensorSpec> InputsOf(const InferModel& model) {
  const ModelInfo& info = *model.info;
  if (model.kind == InferKind::kDenoiser) {
    std::vector<TensorSpec> specs = {{"x", InferType::kFp32, Batched(info.shape)},
                                     {"timestep", InferType::kFp32, {-1}}};
    if (info.integer_time) specs.back().type = InferType::kInt64;
    if (info.num_classes > 0) {
      specs.push_back({LabelName(info, model.kind),
                       InferType::kInt64,
                       {-1},
                       /*optional=*/info.null_class.has_value()});
    }
    AddConditions(model, &specs);
    return specs;
  }
  std::vector<TensorSpec> specs = {
      {"num_samples", InferType::kUint32, {1}, true},
      {"seed", InferType::kUint64, {1}, true},
      {"steps", InferType::kUint32, {1}, true},
      {"sampler", InferType::kBytes, {1}, true},
      {"eta", InferType::kFp32, {1}, true},
      {"guidance_scale", InferType::kFp32, {1}, true},
      {"guidance_rescale", InferType::kFp32, {1}, true},
      {"every_n_steps", InferType::kUint32, {1}, true},
      {"initial_noise", InferType::kFp32, Batched(info.shape), true},
  };
  if (info.decoder.has_value()) specs.push_back({"decode", InferType::kBool, {1}, true});
  if (info.num_classes > 0) {
    specs.push_back({"class_label", InferType::kInt64, {-1}, info.null_class.has_value()});
    specs.push_back({"negative_class_label", InferType::kInt64, {-1}, true});
  }
  AddConditions(model, &specs);
  return specs;
}

std::vector<TensorSpec> OutputsOf(const InferModel& model) {
  const ModelInfo& info = *model.info;
  if (model.kind == InferKind::kDenoiser) {
    return {{"out", InferType::kFp32, Batched(info.answer_shape())}};
  }
  // With a decoder, latents' or that of what is decoded.
  const std::vector<int64_t> shape =
      info.decoder.has_value() ? std::vector<int64_t>(4, -1) : Batched(info.shape);
  const int64_t channels = info.format(info.decoder.has_value()).shape.channels;
  std::vector<TensorSpec> specs = {{"sample", InferType::kFp32, shape}};
  if (channels == 1 || channels == 3) specs.push_back({"png", InferType::kBytes, {-1}});
  specs.push_back({"x_t", InferType::kFp32, shape});
  specs.push_back({"predicted_x_0", InferType::kFp32, shape});
  specs.push_back({"sample_index", InferType::kUint32, {1}});
  specs.push_back({"step", InferType::kUint32, {1}});
  specs.push_back({"timestep", InferType::kFp32, {1}});
  return specs;
}

absl::StatusOr<InferEntry> FindInferModel(const Catalog& catalog, absl::string_view name,
                                          absl::string_view version) {
  if (name.empty()) return FieldError("model_name", "empty; name a model, such as NAME.sample");
  const absl::StatusOr<int64_t> number = VersionOf(version);
  if (!number.ok()) return number.status();
  InferEntry entry;
  absl::StatusOr<CatalogEntry> found = catalog.Find(name, *number);
  if (absl::IsNotFound(found.status()) && absl::ConsumeSuffix(&name, kSampleSuffix) &&
      !name.empty()) {
    entry.model.kind = InferKind::kSampling;
    found = catalog.Find(name, *number);
  }
  if (!found.ok()) return found.status();
  entry.model.info = found->model;
  entry.status = found->status;
  return entry;
}

absl::StatusOr<InferModel> FindServingInferModel(const Catalog& catalog, absl::string_view name,
                                                 absl::string_view version) {
  absl::StatusOr<InferEntry> entry = FindInferModel(catalog, name, version);
  if (!entry.ok()) return entry.status();
  const ModelInfo& info = *entry->model.info;
  if (auto serving = catalog.FindServing(info.name, info.version); !serving.ok()) {
    return serving.status();
  }
  return entry->model;
}

std::vector<InferEntry> AllInferModels(const Catalog& catalog) {
  std::vector<InferEntry> entries;
  for (CatalogEntry& entry : catalog.Entries()) {
    entries.push_back({{entry.model, InferKind::kDenoiser}, entry.status});
    entries.push_back({{entry.model, InferKind::kSampling}, entry.status});
  }
  return entries;
}

}  // namespace denoise
