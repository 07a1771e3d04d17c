#include "server/rpc/inference/model_description.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr char kPlatform[] = "denoised";

inference::DataType DataTypeOf(InferType type) {
  switch (type) {
    case InferType::kBool:
      return inference::TYPE_BOOL;
    case InferType::kInt32:
      return inference::TYPE_INT32;
    case InferType::kUint32:
      return inference::TYPE_UINT32;
    case InferType::kInt64:
      return inference::TYPE_INT64;
    case InferType::kUint64:
      return inference::TYPE_UINT64;
    case InferType::kFp32:
      return inference::TYPE_FP32;
    case InferType::kBytes:
      return inference::TYPE_STRING;
  }
  return inference::TYPE_INVALID;
}

void DescribeTensor(const TensorSpec& spec,
                    inference::ModelMetadataResponse::TensorMetadata* message) {
  message->set_name(spec.name);
  message->set_datatype(std::string(Name(spec.type)));
  message->mutable_shape()->Assign(spec.shape.begin(), spec.shape.end());
}

const char* StateOf(ModelStatus status) {
  switch (status) {
    case ModelStatus::kLoading:
      return "LOADING";
    case ModelStatus::kServing:
      return "READY";
    case ModelStatus::kDraining:
      return "UNLOADING";
  }
  return "UNAVAILABLE";
}

}  // namespace

void DescribeModel(const InferModel& model, const std::vector<int64_t>& versions,
                   inference::ModelMetadataResponse* message) {
  message->set_name(model.name());
  for (const int64_t version : versions) message->add_versions(absl::StrCat(version));
  message->set_platform(kPlatform);
  for (const TensorSpec& spec : InputsOf(model)) DescribeTensor(spec, message->add_inputs());
  for (const TensorSpec& spec : OutputsOf(model)) DescribeTensor(spec, message->add_outputs());
}

void DescribeConfig(const InferModel& model, inference::ModelConfig* message) {
  const ModelInfo& info = *model.info;
  message->set_name(model.name());
  message->set_platform(kPlatform);
  message->set_backend(kPlatform);
  for (const TensorSpec& spec : InputsOf(model)) {
    inference::ModelInput* input = message->add_input();
    input->set_name(spec.name);
    input->set_data_type(DataTypeOf(spec.type));
    input->mutable_dims()->Assign(spec.shape.begin(), spec.shape.end());
    input->set_optional(spec.optional);
  }
  for (const TensorSpec& spec : OutputsOf(model)) {
    inference::ModelOutput* output = message->add_output();
    output->set_name(spec.name);
    output->set_data_type(DataTypeOf(spec.type));
    output->mutable_dims()->Assign(spec.shape.begin(), spec.shape.end());
  }
  inference::ModelInstanceGroup* group = message->add_instance_group();
  group->set_name(info.name);
  group->set_kind(inference::ModelInstanceGroup::KIND_AUTO);
  group->set_count(info.replicas);
  message->mutable_model_transaction_policy()->set_decoupled(model.kind == InferKind::kSampling);

  const auto set = [message](const char* name, std::string value) {
    (*message->mutable_parameters())[name].set_string_value(std::move(value));
  };
  set("prediction_type", std::string(Name(info.config.prediction)));
  set("scheduler", info.config.class_name);
  set("num_train_timesteps", absl::StrCat(info.config.num_train_timesteps()));
  set("value_min", absl::StrCat(info.value_min));
  set("value_max", absl::StrCat(info.value_max));
  set("num_classes", absl::StrCat(info.num_classes));
  if (info.null_class.has_value()) set("null_class", absl::StrCat(*info.null_class));
  if (info.decoder.has_value()) {
    set("decoded_value_min", absl::StrCat(info.decoder->format.value_min));
    set("decoded_value_max", absl::StrCat(info.decoder->format.value_max));
  }
  if (model.kind == InferKind::kSampling) {
    set("default_steps", absl::StrCat(info.default_steps));
    set("default_guidance_scale", absl::StrCat(info.default_guidance_scale));
    set("default_sampler",
        std::string(Name(info.default_sampler.value_or(info.config.default_sampler))));
  }
}

void DescribeEntry(const InferEntry& entry,
                   inference::RepositoryIndexResponse::ModelIndex* message) {
  message->set_name(entry.model.name());
  message->set_version(absl::StrCat(entry.model.info->version));
  message->set_state(StateOf(entry.status));
  if (entry.status == ModelStatus::kLoading) message->set_reason("it is being loaded");
  if (entry.status == ModelStatus::kDraining) message->set_reason("running chains end");
}

}  // namespace denoise
