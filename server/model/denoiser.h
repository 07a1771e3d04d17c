// The denoiser: a frozen TorchScript module.
#ifndef DENOISE_SERVER_MODEL_DENOISER_H_
#define DENOISE_SERVER_MODEL_DENOISER_H_

#include <memory>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "torch/csrc/jit/api/module.h"

namespace denoise {

// How the 4-D weights and the input lie in memory. channels_last makes convolutions 1.1 to 1.2
// times faster on CPUs, as far as measured.
enum class Layout { kContiguous, kChannelsLast };

// An uninitialised float32 tensor of `sizes`, [N, C, H, W]. The strides are the layout's own also
// where C is 1 and others would do: those others are slower.
at::Tensor EmptyInput(at::IntArrayRef sizes, Layout layout);

// Immutable. Run() may be called from several threads at once, which share the weights.
class Denoiser {
 public:
  // Reads, puts into eval mode and freezes. `takes_labels`: whether forward is given y.
  // INVALID_ARGUMENT, in one line that says what would be right, where the file is no TorchScript
  // module or its forward takes another number of arguments; RESOURCE_EXHAUSTED where memory ran
  // out.
  static absl::StatusOr<std::unique_ptr<Denoiser>> Load(const std::string& path, Layout layout,
                                                        bool takes_labels);

  // forward(x, t[, y]). x: [N, C, H, W] float32, made by EmptyInput(…, layout()) so that the call
  // is quick; t: [N] float32 or int64; y: [N] int64, not looked at unless takes_labels. Answers
  // what forward does: a tensor, or the one in a tuple's first place or under a dict's "sample",
  // unchecked. INTERNAL where forward threw or answered something else, RESOURCE_EXHAUSTED where
  // memory ran out; messages are fit for callers.
  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& t,
                                 const at::Tensor& y) const;

  Layout layout() const { return layout_; }
  bool takes_labels() const { return takes_labels_; }
  // Whether any weight is 4-D, so that the layout makes a difference.
  bool has_convolutions() const { return has_convolutions_; }

 private:
  Denoiser(torch::jit::Module module, Layout layout, bool takes_labels, bool has_convolutions)
      : module_(std::move(module)),
        forward_(module_.get_method("forward")),
        layout_(layout),
        takes_labels_(takes_labels),
        has_convolutions_(has_convolutions) {}

  const torch::jit::Module module_;
  const torch::jit::Method forward_;
  const Layout layout_;
  const bool takes_labels_;
  const bool has_convolutions_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_H_
