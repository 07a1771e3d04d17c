#include "server/rpc/messages/model_proto.h"

#include <string>

#include "server/diffusion/scheduler_config.h"
#include "server/rpc/messages/tensor_proto.h"

namespace denoise {
namespace {

v1::Model::Status StatusOf(ModelStatus status) {
  switch (status) {
    case ModelStatus::kLoading:
      return v1::Model::STATUS_LOADING;
    case ModelStatus::kServing:
      return v1::Model::STATUS_SERVING;
    case ModelStatus::kDraining:
      return v1::Model::STATUS_DRAINING;
  }
  return v1::Model::STATUS_UNSPECIFIED;
}

void AddShape(const SampleShape& shape, google::protobuf::RepeatedField<int64_t>* extents) {
  for (const int64_t extent : {shape.channels, shape.height, shape.width}) extents->Add(extent);
}

void EncodeInput(const ModelInput& input, v1::ModelInput* message) {
  message->set_name(input.name);
  message->set_kind(input.kind == ModelInput::Kind::kClassLabels ? "class_labels" : "condition");
  message->set_dtype(DataTypeOf(input.type));
  message->mutable_shape()->Assign(input.shape.begin(), input.shape.end());
}

void EncodeTuning(const TuningResult& way, v1::TuningResult* message) {
  message->set_layout(way.layout);
  message->set_precision(way.precision);
  message->set_executor(way.executor);
  message->set_replicas(way.replicas);
  message->set_threads(way.threads);
  message->set_batch_size(static_cast<uint32_t>(way.batch_size));
  message->set_rows_per_second(way.rows_per_second);
  message->set_call_seconds(way.call_seconds);
  message->set_relative_error(way.relative_error);
  message->set_chosen(way.chosen);
}

}  // namespace

void EncodeModel(const CatalogEntry& entry, v1::Model* message) {
  const ModelInfo& model = *entry.model;
  message->set_name(model.name);
  message->set_version(model.version);
  message->set_status(StatusOf(entry.status));
  AddShape(model.shape, message->mutable_sample_shape());
  message->set_value_min(model.value_min);
  message->set_value_max(model.value_max);
  message->set_num_classes(model.num_classes);
  if (model.null_class.has_value()) message->set_null_class(*model.null_class);
  for (const ModelInput& input : model.inputs) EncodeInput(input, message->add_inputs());
  message->set_prediction_type(std::string(Name(model.config.prediction)));
  message->set_scheduler(model.config.class_name);
  message->set_num_train_timesteps(static_cast<uint32_t>(model.schedule.size()));
  message->mutable_alpha_bars()->Assign(model.schedule.alpha_bars().begin(),
                                        model.schedule.alpha_bars().end());
  message->set_default_steps(model.default_steps);
  message->set_default_guidance_scale(model.default_guidance_scale);
  message->set_layout(model.layout);
  message->set_precision(model.precision);
  message->set_executor(model.executor);
  message->set_replicas(model.replicas);
  message->set_threads(model.threads);
  message->mutable_batch_sizes()->Assign(model.batch_sizes.begin(), model.batch_sizes.end());
  message->set_sha256(model.sha256);
  for (const TuningResult& way : model.tuning) EncodeTuning(way, message->add_tuning());
  message->set_numerics_id(model.numerics_id);
  if (!model.decoder.has_value()) return;
  const SampleFormat& decoded = model.decoder->format;
  message->set_has_decoder(true);
  AddShape(decoded.shape, message->mutable_decoded_shape());
  message->set_decoded_value_min(decoded.value_min);
  message->set_decoded_value_max(decoded.value_max);
}

}  // namespace denoise
