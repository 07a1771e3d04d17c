#include "server/model/denoiser/denoiser.h"

#include "ATen/ops/empty.h"
#include "server/model/runtime/device_call.h"

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

std::string LayoutName(Layout layout) {
  return layout == Layout::kChannelsLast ? "channels_last" : "contiguous";
}

at::Tensor EmptyInput(at::IntArrayRef sizes, Layout layout, c10::Device device) {
  return at::empty(
      sizes, HostMemory(at::kFloat, device)
                 .memory_format(layout == Layout::kChannelsLast ? at::MemoryFormat::ChannelsLast
                                                                : at::MemoryFormat::Contiguous));
}

}  // namespace denoise
