// The denoiser, as the rest of this layer sees it.
#ifndef DENOISE_SERVER_MODEL_DENOISER_DENOISER_H_
#define DENOISE_SERVER_MODEL_DENOISER_DENOISER_H_

#include <cstdint>
#include <limits>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace denoise {

// How the 4-D weights and the input lie in memory. channels_last makes convolutions 1.1 to 1.2
// times faster on CPUs, as far as measured.
enum class Layout { kContiguous, kChannelsLast };

// An uninitialised float32 tensor of `sizes`, [N, C, H, W], in host memory that `device` reads
// quickly. The strides are the layout's own also where C is 1 and others would do: those others are
// slower.
at::Tensor EmptyInput(at::IntArrayRef sizes, Layout layout, c10::Device device);

// "float32", "float16", "bfloat16", "float64": the types of weights that are served.
std::string PrecisionName(at::ScalarType dtype);

// "contiguous", "channels_last".
std::string LayoutName(Layout layout);

// What rows are run on: forward(x, t, further…), whatever executes it. Immutable: Run() may be
// called from several threads at once, which share the weights. These lie on one device; whoever
// calls sees host memory alone.
class Denoiser {
 public:
  virtual ~Denoiser() = default;

  // x: [N, C, H, W] float32, made by EmptyInput(…, layout(), device()) so that the call is quick;
  // t: [N] float32 or int64; further: [N, …], one an input, in their order; all in host memory,
  // which is the caller's again when this returns. x and those that are float32
  // are cast to the weights' type. Answers what forward does, as float32 where it has floating
  // point of another type, unchecked. INTERNAL where forward threw or answered something else than
  // a tensor, RESOURCE_EXHAUSTED where memory ran out; messages are fit for callers.
  virtual absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& t,
                                         absl::Span<const at::Tensor> further) const = 0;

  // What executes it: "torchscript" or "aotinductor".
  virtual absl::string_view executor() const = 0;

  Layout layout() const { return traits_.layout; }
  // Where the weights lie.
  c10::Device device() const { return traits_.device; }
  // Of the weights: float32, float16, bfloat16 or float64. Where there are several, that of most.
  at::ScalarType dtype() const { return traits_.dtype; }
  // That most is computed in: the weights' own, or bfloat16 under autocast.
  at::ScalarType precision() const { return traits_.autocast ? at::kBFloat16 : traits_.dtype; }
  // Whether any weight is 4-D, so that the layout makes a difference.
  bool has_convolutions() const { return traits_.has_convolutions; }
  // Most rows of a call.
  int64_t max_rows() const { return traits_.max_rows; }
  // Its file's name, for messages.
  absl::string_view file() const { return traits_.file; }

 protected:
  struct Traits {
    Layout layout = Layout::kContiguous;
    at::ScalarType dtype = at::kFloat;
    bool has_convolutions = false;
    bool autocast = false;
    int64_t max_rows = std::numeric_limits<int64_t>::max();
    absl::string_view file = "denoiser.pt";
    c10::Device device = c10::kCPU;
  };
  explicit Denoiser(const Traits& traits) : traits_(traits) {}
  // With the traits of another, which it calls.
  Denoiser(const Denoiser& other) = default;

 private:
  const Traits traits_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_DENOISER_H_
