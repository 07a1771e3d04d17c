// TorchScript files made ready to be called: what a denoiser and a decoder have in common.
#ifndef DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_MODULE_H_
#define DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_MODULE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/denoiser/denoiser.h"

namespace denoise {

// What forward is called with: as messages write it, and how many arguments that are; and what to
// change where the module takes others.
struct ForwardSpec {
  std::string signature;  // "forward(x, t, y)"
  size_t arguments = 0;
  std::string fix;  // "change num_classes or inputs there"
};

// A frozen module on its device. Immutable: Forward() may be called from several threads at once,
// which share the weights. The module itself is hidden, because its header takes seconds to parse.
class TorchScriptModule {
 public:
  // Reads, brings to `device`, puts into eval mode and freezes. Where forward itself names a
  // device, as tracing makes it do, it is made to name this one. INVALID_ARGUMENT, in one line that
  // begins with the file's name and says what would be right, where the file is no TorchScript
  // module, its forward takes another number of arguments or its weights have a type that is not
  // served; RESOURCE_EXHAUSTED where memory ran out.
  static absl::StatusOr<TorchScriptModule> Load(const std::string& path, Layout layout,
                                                const ForwardSpec& forward, c10::Device device);
  TorchScriptModule(TorchScriptModule&&) noexcept;
  ~TorchScriptModule();

  // Calls forward with `arguments`, in host memory. Those of floating point are cast to dtype(),
  // but for the one at `uncast`: times would be rounded. Answers the tensor that forward gave
  // (itself, the first of a tuple, or a dict's "sample") in host memory, as float32 where it has
  // floating point of another type. INTERNAL where it gave something else or threw,
  // RESOURCE_EXHAUSTED where memory ran out; messages are fit for callers.
  static constexpr size_t kNone = SIZE_MAX;
  absl::StatusOr<at::Tensor> Forward(absl::Span<const at::Tensor> arguments,
                                     size_t uncast = kNone) const;

  c10::Device device() const { return device_; }
  at::ScalarType dtype() const { return dtype_; }  // of most of the weights: one that is served
  bool has_convolutions() const { return has_convolutions_; }  // whether any weight is 4-D

 private:
  struct Frozen;
  TorchScriptModule(std::unique_ptr<const Frozen> frozen, c10::Device device, at::ScalarType dtype,
                    bool has_convolutions);

  std::unique_ptr<const Frozen> frozen_;
  c10::Device device_;
  at::ScalarType dtype_;
  bool has_convolutions_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_MODULE_H_
