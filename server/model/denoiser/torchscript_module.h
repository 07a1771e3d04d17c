// TorchScript files made ready to be called: what a denoiser and a decoder have in common.
#ifndef DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_MODULE_H_
#define DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_MODULE_H_

#include <cstddef>
#include <string>

#include "ATen/core/Tensor.h"
#include "ATen/core/ivalue.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/model/denoiser/denoiser.h"
#include "torch/csrc/jit/api/module.h"

namespace denoise {

// A frozen module on its device.
struct TorchScriptModule {
  torch::jit::Module module;
  at::ScalarType dtype = at::kFloat;  // of most of the weights: one that is served
  bool has_convolutions = false;      // whether any weight is 4-D
};

// What forward is called with: as messages write it, and how many arguments that are; and what of
// the model to change where it takes others.
struct ForwardSpec {
  std::string signature;  // "forward(x, t, y)"
  size_t arguments = 0;
  std::string mend;  // "change num_classes or inputs there"
};

// Reads, brings to `device`, puts into eval mode and freezes. Where forward itself names a device,
// as tracing makes it do, it is made to name this one. INVALID_ARGUMENT, in one line that begins
// with the file's name and says what would be right, where the file is no TorchScript module, its
// forward takes another number of arguments or its weights have a type that is not served;
// RESOURCE_EXHAUSTED where memory ran out.
absl::StatusOr<TorchScriptModule> LoadTorchScript(const std::string& path, Layout layout,
                                                  const ForwardSpec& forward, c10::Device device);

// The tensor that forward answered: itself, the one in a tuple's first place, or under a dict's
// "sample". INTERNAL for anything else.
absl::StatusOr<at::Tensor> TensorOf(const c10::IValue& answer);

// Floating point as `dtype`; what is not, as it is.
at::Tensor As(at::ScalarType dtype, const at::Tensor& tensor);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_MODULE_H_
