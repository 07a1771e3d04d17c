// The decoder of a latent model: decoder.pt.
#ifndef DENOISE_SERVER_MODEL_DENOISER_DECODER_H_
#define DENOISE_SERVER_MODEL_DENOISER_DECODER_H_

#include <memory>
#include <string>
#include <utility>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "server/model/denoiser/torchscript_module.h"

namespace denoise {

// forward(latents [N, C, H, W] float32) → [N, C', H', W'], a frozen TorchScript module. Whatever
// scaling and shift the latents need is done by forward. Immutable: Run() may be called from
// several threads at once, which share the weights. These lie on one device, contiguous and in
// their own precision; whoever calls sees host memory alone.
class Decoder {
 public:
  // As TorchScriptModule::Load.
  static absl::StatusOr<std::unique_ptr<Decoder>> Load(const std::string& path, c10::Device device);

  // latents: [N, C, H, W] float32, made by EmptyInput(…, Layout::kContiguous, device()), the
  // caller's again when this returns; cast to the weights' type. Answers what forward does, as
  // float32 where it has floating point of another type, in host memory, unchecked. INTERNAL where
  // forward threw or answered something else than a tensor, RESOURCE_EXHAUSTED where memory ran
  // out; messages are fit for callers.
  absl::StatusOr<at::Tensor> Run(const at::Tensor& latents) const;

  c10::Device device() const { return module_.device(); }
  // Of most of the weights.
  at::ScalarType dtype() const { return module_.dtype(); }

 private:
  explicit Decoder(TorchScriptModule module) : module_(std::move(module)) {}

  const TorchScriptModule module_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_DECODER_H_
