// A denoiser that is a frozen TorchScript module.
#ifndef DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_DENOISER_H_
#define DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_DENOISER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/denoiser/torchscript_module.h"

namespace denoise {

class TorchScriptDenoiser : public Denoiser {
 public:
  // As TorchScriptModule::Load. `inputs`: what forward takes after x and t.
  static absl::StatusOr<std::unique_ptr<Denoiser>> Load(const std::string& path, Layout layout,
                                                        const std::vector<ModelInput>& inputs,
                                                        c10::Device device = c10::kCPU);

  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& t,
                                 absl::Span<const at::Tensor> further) const override;

  absl::string_view executor() const override { return "torchscript"; }

 private:
  TorchScriptDenoiser(TorchScriptModule module, const Traits& traits)
      : Denoiser(traits), module_(std::move(module)) {}

  const TorchScriptModule module_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_TORCHSCRIPT_DENOISER_H_
