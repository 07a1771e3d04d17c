// Tensor messages: samples both ways, and what all tensors have in common.
#ifndef DENOISE_SERVER_RPC_MESSAGES_TENSOR_PROTO_H_
#define DENOISE_SERVER_RPC_MESSAGES_TENSOR_PROTO_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/engine/model_info.h"

namespace denoise {

v1::DataType DataTypeOf(ElementType type);

// "[1, 3, 8, 8]"; long ones are cut.
std::string ShapeText(absl::Span<const int64_t> shape);

// What a tensor [n, C, H, W] of samples must be.
struct SamplesSpec {
  SampleShape shape;
  // How many; absent: 1..max_samples.
  std::optional<uint32_t> num_samples;
  uint32_t max_samples = 1;
  // Of every value.
  float min = 0;
  float max = 0;
  // Also [1, C, H, W], for all samples.
  bool or_one_sample = false;
  // Also [n, 1, H, W], for all channels.
  bool or_one_channel = false;
};

// Checks dtype, shape, size and every value (NaN and infinities fail), without allocating. The
// first extent, or a FieldError below `field` ("x_0.shape").
absl::StatusOr<uint32_t> CheckSamples(const v1::Tensor& tensor, const SamplesSpec& spec,
                                      absl::string_view field);

// The values of a FLOAT32 tensor that was checked.
std::vector<float> FloatsOf(const v1::Tensor& tensor);

// Makes `tensor` FLOAT32 of this shape; values.size() is the shape's product.
void SetTensor(absl::Span<const int64_t> shape, absl::Span<const float> values, v1::Tensor* tensor);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_TENSOR_PROTO_H_
