#include "client/src/encode.h"

#include <map>
#include <string>

#include "client/src/little_endian.h"

namespace denoise {
inline namespace client_v1 {
namespace {

v1::Sampler::Kind Encode(Sampler::Kind kind) {
  switch (kind) {
    case Sampler::Kind::kModelDefault:
      return v1::Sampler::KIND_UNSPECIFIED;
    case Sampler::Kind::kDdpm:
      return v1::Sampler::KIND_DDPM;
    case Sampler::Kind::kDdim:
      return v1::Sampler::KIND_DDIM;
    case Sampler::Kind::kEuler:
      return v1::Sampler::KIND_EULER;
    case Sampler::Kind::kEulerAncestral:
      return v1::Sampler::KIND_EULER_ANCESTRAL;
    case Sampler::Kind::kHeun:
      return v1::Sampler::KIND_HEUN;
    case Sampler::Kind::kDpmpp2M:
      return v1::Sampler::KIND_DPMPP_2M;
    case Sampler::Kind::kSdeDpmpp2M:
      return v1::Sampler::KIND_SDE_DPMPP_2M;
    case Sampler::Kind::kDpmpp3M:
      return v1::Sampler::KIND_DPMPP_3M;
    case Sampler::Kind::kUniPc:
      return v1::Sampler::KIND_UNIPC;
    case Sampler::Kind::kLms:
      return v1::Sampler::KIND_LMS;
    case Sampler::Kind::kPndm:
      return v1::Sampler::KIND_PNDM;
    case Sampler::Kind::kDeis:
      return v1::Sampler::KIND_DEIS;
  }
  return v1::Sampler::KIND_UNSPECIFIED;
}

v1::Sampler::TimestepSpacing Encode(Sampler::Spacing spacing) {
  switch (spacing) {
    case Sampler::Spacing::kModelDefault:
      return v1::Sampler::TIMESTEP_SPACING_UNSPECIFIED;
    case Sampler::Spacing::kLeading:
      return v1::Sampler::TIMESTEP_SPACING_LEADING;
    case Sampler::Spacing::kTrailing:
      return v1::Sampler::TIMESTEP_SPACING_TRAILING;
    case Sampler::Spacing::kLinspace:
      return v1::Sampler::TIMESTEP_SPACING_LINSPACE;
  }
  return v1::Sampler::TIMESTEP_SPACING_UNSPECIFIED;
}

v1::Sampler::Sigmas Encode(Sampler::Sigmas sigmas) {
  switch (sigmas) {
    case Sampler::Sigmas::kModelDefault:
      return v1::Sampler::SIGMAS_UNSPECIFIED;
    case Sampler::Sigmas::kSchedule:
      return v1::Sampler::SIGMAS_SCHEDULE;
    case Sampler::Sigmas::kKarras:
      return v1::Sampler::SIGMAS_KARRAS;
    case Sampler::Sigmas::kExponential:
      return v1::Sampler::SIGMAS_EXPONENTIAL;
    case Sampler::Sigmas::kBeta:
      return v1::Sampler::SIGMAS_BETA;
  }
  return v1::Sampler::SIGMAS_UNSPECIFIED;
}

v1::Sampler::Variance Encode(Sampler::Variance variance) {
  switch (variance) {
    case Sampler::Variance::kModelDefault:
      return v1::Sampler::VARIANCE_UNSPECIFIED;
    case Sampler::Variance::kFixedSmall:
      return v1::Sampler::VARIANCE_FIXED_SMALL;
    case Sampler::Variance::kFixedLarge:
      return v1::Sampler::VARIANCE_FIXED_LARGE;
    case Sampler::Variance::kLearned:
      return v1::Sampler::VARIANCE_LEARNED;
    case Sampler::Variance::kLearnedRange:
      return v1::Sampler::VARIANCE_LEARNED_RANGE;
  }
  return v1::Sampler::VARIANCE_UNSPECIFIED;
}

v1::Content Encode(Content content) {
  switch (content) {
    case Content::kNone:
      return v1::CONTENT_UNSPECIFIED;
    case Content::kXt:
      return v1::CONTENT_X_T;
    case Content::kPredictedX0:
      return v1::CONTENT_PREDICTED_X_0;
  }
  return v1::CONTENT_UNSPECIFIED;
}

v1::Encoding Encode(Encoding encoding) {
  return encoding == Encoding::kPng ? v1::ENCODING_PNG : v1::ENCODING_RAW;
}

void Encode(const Tensor& tensor, v1::Tensor* wire) {
  wire->set_dtype(v1::DATA_TYPE_FLOAT32);
  *wire->mutable_shape() = {tensor.shape.begin(), tensor.shape.end()};
  ToBytes(tensor.values, wire->mutable_data());
}

void Encode(const Array& array, v1::Tensor* wire) {
  *wire->mutable_shape() = {array.shape.begin(), array.shape.end()};
  std::string* data = wire->mutable_data();
  if (const auto* floats = std::get_if<std::vector<float>>(&array.values)) {
    wire->set_dtype(v1::DATA_TYPE_FLOAT32);
    ToBytes(*floats, data);
  } else if (const auto* integers = std::get_if<std::vector<int64_t>>(&array.values)) {
    wire->set_dtype(v1::DATA_TYPE_INT64);
    ToBytes(*integers, data);
  } else {
    const auto& bools = std::get<std::vector<bool>>(array.values);
    wire->set_dtype(v1::DATA_TYPE_BOOL);
    data->assign(bools.begin(), bools.end());
  }
}

void Encode(const std::map<std::string, Array>& arrays,
            google::protobuf::Map<std::string, v1::Tensor>* wire) {
  for (const auto& [name, array] : arrays) Encode(array, &(*wire)[name]);
}

void Encode(const Sampler& sampler, v1::Sampler* wire) {
  wire->set_kind(Encode(sampler.kind));
  wire->set_steps(sampler.steps);
  wire->set_eta(sampler.eta);
  wire->set_timestep_spacing(Encode(sampler.spacing));
  wire->set_sigmas(Encode(sampler.sigmas));
  wire->set_variance(Encode(sampler.variance));
  if (sampler.clip_sample) wire->set_clip_sample(*sampler.clip_sample);
  if (sampler.clip_sample_range) wire->set_clip_sample_range(*sampler.clip_sample_range);
  wire->set_use_clipped_model_output(sampler.use_clipped_model_output);
  *wire->mutable_timesteps() = {sampler.timesteps.begin(), sampler.timesteps.end()};
  if (sampler.thresholding) wire->set_thresholding(*sampler.thresholding);
  if (sampler.flow_shift) wire->set_flow_shift(*sampler.flow_shift);
}

void Encode(const StateStreaming& states, v1::StateStreaming* wire) {
  wire->set_every_n_steps(states.every_n_steps);
  *wire->mutable_steps() = {states.steps.begin(), states.steps.end()};
  for (const Content content : states.content) {
    // Progress alone is an empty list on the wire.
    if (content != Content::kNone) wire->add_content(Encode(content));
  }
  wire->set_encoding(Encode(states.encoding));
  wire->set_decode(states.decode);
}

void Encode(const Inpainting& inpainting, v1::Inpainting* wire) {
  Encode(inpainting.image, wire->mutable_image());
  Encode(inpainting.mask, wire->mutable_mask());
  wire->set_jump_length(inpainting.jump_length);
  wire->set_jump_samples(inpainting.jump_samples);
}

}  // namespace

v1::SampleRequest Encode(const SampleRequest& request) {
  v1::SampleRequest wire;
  wire.set_model(request.model);
  wire.set_model_version(request.model_version);
  wire.set_num_samples(request.num_samples);
  if (request.seed) wire.set_seed(*request.seed);
  Encode(request.sampler, wire.mutable_sampler());
  *wire.mutable_class_labels() = {request.class_labels.begin(), request.class_labels.end()};
  if (request.guidance_scale) wire.set_guidance_scale(*request.guidance_scale);
  if (request.initial_noise) Encode(*request.initial_noise, wire.mutable_initial_noise());
  Encode(request.states, wire.mutable_states());
  wire.set_encoding(Encode(request.encoding));
  Encode(request.conditions, wire.mutable_conditions());
  *wire.mutable_negative_class_labels() = {request.negative_class_labels.begin(),
                                           request.negative_class_labels.end()};
  Encode(request.negative_conditions, wire.mutable_negative_conditions());
  wire.set_guidance_rescale(request.guidance_rescale);
  if (request.guidance_interval) {
    wire.mutable_guidance_interval()->set_sigma_min(request.guidance_interval->sigma_min);
    wire.mutable_guidance_interval()->set_sigma_max(request.guidance_interval->sigma_max);
  }
  if (request.image_to_image) {
    Encode(request.image_to_image->image, wire.mutable_image_to_image()->mutable_image());
    wire.mutable_image_to_image()->set_strength(request.image_to_image->strength);
  }
  if (request.inpainting) Encode(*request.inpainting, wire.mutable_inpainting());
  wire.set_priority(request.priority);
  wire.set_decode(request.decode);
  return wire;
}

v1::DiffuseRequest Encode(const DiffuseRequest& request) {
  v1::DiffuseRequest wire;
  wire.set_model(request.model);
  wire.set_model_version(request.model_version);
  Encode(request.x_0, wire.mutable_x_0());
  if (request.seed) wire.set_seed(*request.seed);
  *wire.mutable_timesteps() = {request.timesteps.begin(), request.timesteps.end()};
  wire.set_chain(request.chain);
  wire.set_encoding(Encode(request.encoding));
  return wire;
}

v1::EvaluateRequest Encode(const EvaluateRequest& request) {
  v1::EvaluateRequest wire;
  wire.set_model(request.model);
  wire.set_model_version(request.model_version);
  Encode(request.x_0, wire.mutable_x_0());
  if (request.seed) wire.set_seed(*request.seed);
  *wire.mutable_class_labels() = {request.class_labels.begin(), request.class_labels.end()};
  Encode(request.conditions, wire.mutable_conditions());
  wire.set_num_timesteps(request.num_timesteps);
  if (request.clip_sample) wire.set_clip_sample(*request.clip_sample);
  wire.set_priority(request.priority);
  return wire;
}

absl::Status CheckSendable(const SampleRequest& request) {
  if (!request.initial_noise || !request.image_to_image) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "initial_noise and image_to_image are both set: a chain begins from one of them");
}

}  // namespace client_v1
}  // namespace denoise
