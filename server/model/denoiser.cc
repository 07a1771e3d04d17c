#include "server/model/denoiser.h"

#include "ATen/ops/empty.h"

namespace denoise {

std::string PrecisionName(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kDouble:
      return "float64";
    default:
      return "";
  }
}

at::Tensor EmptyInput(at::IntArrayRef sizes, Layout layout) {
  return at::empty(
      sizes, at::TensorOptions(at::kFloat)
                 .memory_format(layout == Layout::kChannelsLast ? at::MemoryFormat::ChannelsLast
                                                                : at::MemoryFormat::Contiguous));
}

}  // namespace denoise
