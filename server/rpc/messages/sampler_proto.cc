#include "server/rpc/messages/sampler_proto.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

// proto3's enums are open: any int32 arrives.
absl::Status UnknownValue(absl::string_view field, int value, absl::string_view known) {
  return FieldError(field, absl::StrCat(value, " is not known here; known are ", known));
}

absl::StatusOr<SamplerOptions> OptionsOfSampler(const v1::Sampler& message,
                                                const ModelInfo& model) {
  SamplerOptions options;
  switch (message.kind()) {
    case v1::Sampler::KIND_UNSPECIFIED:
      options.kind = model.default_sampler;
      break;
    case v1::Sampler::KIND_DDPM:
      options.kind = SamplerKind::kDdpm;
      break;
    case v1::Sampler::KIND_DDIM:
      options.kind = SamplerKind::kDdim;
      break;
    case v1::Sampler::KIND_EULER:
      options.kind = SamplerKind::kEuler;
      break;
    case v1::Sampler::KIND_EULER_ANCESTRAL:
      options.kind = SamplerKind::kEulerAncestral;
      break;
    case v1::Sampler::KIND_HEUN:
      options.kind = SamplerKind::kHeun;
      break;
    case v1::Sampler::KIND_DPMPP_2M:
      options.kind = SamplerKind::kDpmpp2M;
      break;
    case v1::Sampler::KIND_SDE_DPMPP_2M:
      options.kind = SamplerKind::kSdeDpmpp2M;
      break;
    case v1::Sampler::KIND_DPMPP_3M:
      options.kind = SamplerKind::kDpmpp3M;
      break;
    case v1::Sampler::KIND_UNIPC:
      options.kind = SamplerKind::kUniPc;
      break;
    case v1::Sampler::KIND_LMS:
      options.kind = SamplerKind::kLms;
      break;
    case v1::Sampler::KIND_PNDM:
      options.kind = SamplerKind::kPndm;
      break;
    case v1::Sampler::KIND_DEIS:
      options.kind = SamplerKind::kDeis;
      break;
    default:
      return UnknownValue("sampler.kind", message.kind(), "KIND_DDPM (1) to KIND_DEIS (12)");
  }
  switch (message.timestep_spacing()) {
    case v1::Sampler::TIMESTEP_SPACING_UNSPECIFIED:
      break;
    case v1::Sampler::TIMESTEP_SPACING_LEADING:
      options.spacing = Spacing::kLeading;
      break;
    case v1::Sampler::TIMESTEP_SPACING_TRAILING:
      options.spacing = Spacing::kTrailing;
      break;
    case v1::Sampler::TIMESTEP_SPACING_LINSPACE:
      options.spacing = Spacing::kLinspace;
      break;
    default:
      return UnknownValue("sampler.timestep_spacing", message.timestep_spacing(),
                          "TIMESTEP_SPACING_LEADING (1), TIMESTEP_SPACING_TRAILING (2) and "
                          "TIMESTEP_SPACING_LINSPACE (3)");
  }
  switch (message.sigmas()) {
    case v1::Sampler::SIGMAS_UNSPECIFIED:
      break;
    case v1::Sampler::SIGMAS_SCHEDULE:
      options.sigmas = Sigmas::kSchedule;
      break;
    case v1::Sampler::SIGMAS_KARRAS:
      options.sigmas = Sigmas::kKarras;
      break;
    case v1::Sampler::SIGMAS_EXPONENTIAL:
      options.sigmas = Sigmas::kExponential;
      break;
    case v1::Sampler::SIGMAS_BETA:
      options.sigmas = Sigmas::kBeta;
      break;
    default:
      return UnknownValue("sampler.sigmas", message.sigmas(),
                          "SIGMAS_SCHEDULE (1), SIGMAS_KARRAS (2), SIGMAS_EXPONENTIAL (3) and "
                          "SIGMAS_BETA (4)");
  }
  switch (message.variance()) {
    case v1::Sampler::VARIANCE_UNSPECIFIED:
      break;
    case v1::Sampler::VARIANCE_FIXED_SMALL:
      options.variance = Variance::kFixedSmall;
      break;
    case v1::Sampler::VARIANCE_FIXED_LARGE:
      options.variance = Variance::kFixedLarge;
      break;
    case v1::Sampler::VARIANCE_LEARNED:
      options.variance = Variance::kLearned;
      break;
    case v1::Sampler::VARIANCE_LEARNED_RANGE:
      options.variance = Variance::kLearnedRange;
      break;
    default:
      return UnknownValue("sampler.variance", message.variance(),
                          "VARIANCE_FIXED_SMALL (1), VARIANCE_FIXED_LARGE (2), VARIANCE_LEARNED "
                          "(3) and VARIANCE_LEARNED_RANGE (4)");
  }
  options.timesteps.assign(message.timesteps().begin(), message.timesteps().end());
  options.steps = message.steps();
  if (options.steps == 0 && options.timesteps.empty()) options.steps = model.default_steps;
  options.eta = message.eta();
  if (message.has_clip_sample()) options.clip_sample = message.clip_sample();
  if (message.has_clip_sample_range()) options.clip_sample_range = message.clip_sample_range();
  options.use_clipped_model_output = message.use_clipped_model_output();
  if (message.has_thresholding()) options.thresholding = message.thresholding();
  if (message.has_flow_shift()) options.flow_shift = message.flow_shift();
  return options;
}

}  // namespace

absl::StatusOr<SamplerOptions> OptionsOf(const v1::SampleRequest& message, const ModelInfo& model) {
  absl::StatusOr<SamplerOptions> options = OptionsOfSampler(message.sampler(), model);
  if (!options.ok()) return options.status();
  if (message.has_image_to_image()) options->strength = message.image_to_image().strength();
  if (message.has_inpainting()) {
    options->inpainting = true;
    options->jump_length = message.inpainting().jump_length();
    options->jump_samples = message.inpainting().jump_samples();
  }
  return options;
}

}  // namespace denoise
