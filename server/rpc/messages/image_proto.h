// Images and masks of a request.
#ifndef DENOISE_SERVER_RPC_MESSAGES_IMAGE_PROTO_H_
#define DENOISE_SERVER_RPC_MESSAGES_IMAGE_PROTO_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/engine/model_info.h"
#include "server/rpc/messages/tensor_proto.h"

namespace denoise {

// What clean samples must be: the model's shape, in its range with some tolerance.
SamplesSpec CleanSamples(const ModelInfo& model);

// Check the tensors, without allocating: FieldErrors below "image_to_image" and "inpainting". The
// messages' numbers are MakeTable's to check.
absl::Status CheckImageToImage(const v1::ImageToImage& message, const ModelInfo& model,
                               uint32_t num_samples);
absl::Status CheckInpainting(const v1::Inpainting& message, const ModelInfo& model,
                             uint32_t num_samples);

// A mask that was checked, [1 or n, C·H·W]: that of one channel counts for all of them.
std::vector<float> MaskOf(const v1::Tensor& mask, const SampleShape& shape);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_IMAGE_PROTO_H_
