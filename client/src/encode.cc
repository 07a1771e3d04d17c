#include "client/src/encode.h"

#include "client/src/floats.h"

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
  FloatsToBytes(tensor.values, wire->mutable_data());
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
}

void Encode(const StateStreaming& states, v1::StateStreaming* wire) {
  wire->set_every_n_steps(states.every_n_steps);
  *wire->mutable_steps() = {states.steps.begin(), states.steps.end()};
  for (const Content content : states.content) {
    // Progress alone is an empty list on the wire.
    if (content != Content::kNone) wire->add_content(Encode(content));
  }
  wire->set_encoding(Encode(states.encoding));
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

}  // namespace client_v1
}  // namespace denoise
