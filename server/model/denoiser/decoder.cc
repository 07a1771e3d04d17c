#include "server/model/denoiser/decoder.h"

#include "absl/types/span.h"
#include "c10/core/InferenceMode.h"
#include "server/model/runtime/torch_error.h"

namespace denoise {

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Load(const std::string& path,
                                                       c10::Device device) {
  const ForwardSpec forward = {
      .signature = "forward(latents)",
      .arguments = 1,
      .fix = "export a module with that signature; scaling and shift belong into it"};
  absl::StatusOr<TorchScriptModule> loaded =
      TorchScriptModule::Load(path, Layout::kContiguous, forward, device);
  if (!loaded.ok()) return loaded.status();
  return std::unique_ptr<Decoder>(new Decoder(*std::move(loaded)));
}

absl::StatusOr<at::Tensor> Decoder::Run(const at::Tensor& latents) const {
  absl::StatusOr<at::Tensor> answer = module_.Forward(absl::MakeConstSpan(&latents, 1));
  if (!answer.ok()) return answer.status();
  try {
    const c10::InferenceMode inference;
    return answer->contiguous();
  } catch (...) {
    return CurrentExceptionStatus();
  }
}

}  // namespace denoise
