// The denoiser: a frozen TorchScript module.
#ifndef DENOISE_SERVER_MODEL_DENOISER_H_
#define DENOISE_SERVER_MODEL_DENOISER_H_

#include <memory>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/model_info.h"
#include "torch/csrc/jit/api/module.h"

namespace denoise {

// How the 4-D weights and the input lie in memory. channels_last makes convolutions 1.1 to 1.2
// times faster on CPUs, as far as measured.
enum class Layout { kContiguous, kChannelsLast };

// An uninitialised float32 tensor of `sizes`, [N, C, H, W]. The strides are the layout's own also
// where C is 1 and others would do: those others are slower.
at::Tensor EmptyInput(at::IntArrayRef sizes, Layout layout);

// "float32", "float16", "bfloat16", "float64": the types of weights that are served.
std::string PrecisionName(at::ScalarType dtype);

// Immutable. Run() may be called from several threads at once, which share the weights.
class Denoiser {
 public:
  // Reads, puts into eval mode and freezes. `inputs`: what forward takes after x and t.
  // INVALID_ARGUMENT, in one line that says what would be right, where the file is no TorchScript
  // module, its forward takes another number of arguments or its weights have a type that is not
  // served; RESOURCE_EXHAUSTED where memory ran out.
  static absl::StatusOr<std::unique_ptr<Denoiser>> Load(const std::string& path, Layout layout,
                                                        const std::vector<ModelInput>& inputs);

  // forward(x, t, further…). x: [N, C, H, W] float32, made by EmptyInput(…, layout()) so that the
  // call is quick; t: [N] float32 or int64; further: [N, …], one an input, in their order. x and
  // those that are float32 are cast to the weights' type. Answers what forward does, as float32
  // where it has floating point of another type: a tensor, or the one in a tuple's first place or
  // under a dict's "sample", unchecked. INTERNAL where forward threw or answered something else,
  // RESOURCE_EXHAUSTED where memory ran out; messages are fit for callers.
  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& t,
                                 absl::Span<const at::Tensor> further) const;

  Layout layout() const { return layout_; }
  // Of the weights: float32, float16, bfloat16 or float64. Where there are several, that of most.
  at::ScalarType dtype() const { return dtype_; }
  // Whether any weight is 4-D, so that the layout makes a difference.
  bool has_convolutions() const { return has_convolutions_; }

 private:
  Denoiser(torch::jit::Module module, Layout layout, at::ScalarType dtype, bool has_convolutions)
      : module_(std::move(module)),
        forward_(module_.get_method("forward")),
        layout_(layout),
        dtype_(dtype),
        has_convolutions_(has_convolutions) {}

  const torch::jit::Module module_;
  const torch::jit::Method forward_;
  const Layout layout_;
  const at::ScalarType dtype_;
  const bool has_convolutions_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_H_
