// Samples as Tensor messages, both ways.
#ifndef DENOISE_SERVER_RPC_TENSOR_PROTO_H_
#define DENOISE_SERVER_RPC_TENSOR_PROTO_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "denoise/v1/diffusion.pb.h"
#include "server/engine/model_info.h"

namespace denoise {

// What a tensor [n, C, H, W] of samples must be.
struct SamplesSpec {
  SampleShape shape;
  // How many; absent: 1..max_samples.
  std::optional<uint32_t> num_samples;
  uint32_t max_samples = 1;
  // Of every value.
  float min = 0;
  float max = 0;
};

// Checks dtype, shape, size and every value (NaN and infinities fail), without allocating. The
// number of samples, or a FieldError below `field` ("x_0.shape").
absl::StatusOr<uint32_t> CheckSamples(const v1::Tensor& tensor, const SamplesSpec& spec,
                                      absl::string_view field);

// The values of a FLOAT32 tensor that was checked.
std::vector<float> FloatsOf(const v1::Tensor& tensor);

// Makes `tensor` FLOAT32 of this shape; values.size() is the shape's product.
void SetTensor(absl::Span<const int64_t> shape, absl::Span<const float> values, v1::Tensor* tensor);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_TENSOR_PROTO_H_
