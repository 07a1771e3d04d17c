#include "server/rpc/messages/image_proto.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

// How far clean samples may lie outside the model's range, as a part of it: samplers that do not
// clip end outside, with guidance by a tenth and more, and what was sampled here must be good
// enough. What is left are mistakes, such as pixels of 0..255.
constexpr float kRangeTolerance = 0.25f;

absl::Status CheckImage(bool given, const v1::Tensor& image, const ModelInfo& model,
                        uint32_t num_samples, absl::string_view field) {
  if (!given) return FieldError(field, "missing; give [1 or n, C, H, W] FLOAT32");
  SamplesSpec spec = CleanSamples(model);
  spec.num_samples = num_samples;
  spec.or_one_sample = true;
  return CheckSamples(image, spec, field).status();
}

}  // namespace

SamplesSpec CleanSamples(const ModelInfo& model) {
  const float tolerance = kRangeTolerance * (model.value_max - model.value_min);
  SamplesSpec spec;
  spec.shape = model.shape;
  spec.min = model.value_min - tolerance;
  spec.max = model.value_max + tolerance;
  return spec;
}

absl::Status CheckImageToImage(const v1::ImageToImage& message, const ModelInfo& model,
                               uint32_t num_samples) {
  return CheckImage(message.has_image(), message.image(), model, num_samples,
                    "image_to_image.image");
}

absl::Status CheckInpainting(const v1::Inpainting& message, const ModelInfo& model,
                             uint32_t num_samples) {
  absl::Status status =
      CheckImage(message.has_image(), message.image(), model, num_samples, "inpainting.image");
  if (!status.ok()) return status;
  if (!message.has_mask()) {
    return FieldError("inpainting.mask",
                      "missing; give [1 or n, 1 or C, H, W] FLOAT32, 1 where the image is kept");
  }
  SamplesSpec spec;
  spec.shape = model.shape;
  spec.num_samples = num_samples;
  spec.min = 0;
  spec.max = 1;
  spec.or_one_sample = true;
  spec.or_one_channel = true;
  return CheckSamples(message.mask(), spec, "inpainting.mask").status();
}

std::vector<float> MaskOf(const v1::Tensor& mask, const SampleShape& shape) {
  std::vector<float> values = FloatsOf(mask);
  if (mask.shape(1) == shape.channels) return values;
  const int64_t plane = shape.height * shape.width;
  std::vector<float> spread;
  spread.reserve(values.size() * shape.channels);
  for (auto begin = values.begin(); begin != values.end(); begin += plane) {
    for (int64_t c = 0; c < shape.channels; ++c) {
      spread.insert(spread.end(), begin, begin + plane);
    }
  }
  return spread;
}

}  // namespace denoise
