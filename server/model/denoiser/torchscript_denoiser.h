// A denoiser that is a frozen TorchScript module.
#ifndef DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_DENOISER_H_
#define DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_DENOISER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/denoiser.h"
#include "torch/csrc/jit/api/module.h"

namespace denoise {

class TorchScriptDenoiser : public Denoiser {
 public:
  // Reads, brings to `device`, puts into eval mode and freezes. `inputs`: what forward takes after
  // x and t. Where forward itself names a device, as tracing makes it do, it is made to name this
  // one. INVALID_ARGUMENT, in one line that says what would be right, where the file is no
  // TorchScript module, its forward takes another number of arguments or its weights have a type
  // that is not served; RESOURCE_EXHAUSTED where memory ran out.
  static absl::StatusOr<std::unique_ptr<Denoiser>> Load(const std::string& path, Layout layout,
                                                        const std::vector<ModelInput>& inputs,
                                                        c10::Device device = c10::kCPU);

  // Forward's answer may be a tensor, or the one in a tuple's first place or under a dict's
  // "sample".
  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& t,
                                 absl::Span<const at::Tensor> further) const override;

  absl::string_view executor() const override { return "torchscript"; }

 private:
  TorchScriptDenoiser(torch::jit::Module module, const Traits& traits)
      : Denoiser(traits), module_(std::move(module)), forward_(module_.get_method("forward")) {}

  const torch::jit::Module module_;
  const torch::jit::Method forward_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_DENOISER_H_
