#include "server/model/denoiser/decoder.h"

#include <utility>
#include <vector>

#include "c10/core/InferenceMode.h"
#include "server/model/runtime/device_call.h"
#include "server/model/runtime/torch_error.h"
#include "server/model/denoiser/torchscript_module.h"

namespace denoise {

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Load(const std::string& path,
                                                       c10::Device device) {
  const ForwardSpec forward = {
      .signature = "forward(latents)",
      .arguments = 1,
      .mend = "export a module with that signature; scaling and shift belong into it"};
  absl::StatusOr<TorchScriptModule> loaded =
      LoadTorchScript(path, Layout::kContiguous, forward, device);
  if (!loaded.ok()) return loaded.status();
  try {
    return std::unique_ptr<Decoder>(new Decoder(std::move(loaded->module), loaded->dtype, device));
  } catch (...) {
    return CurrentExceptionStatus();
  }
}

absl::StatusOr<at::Tensor> Decoder::Run(const at::Tensor& latents) const {
  try {
    const c10::InferenceMode inference;
    DeviceCall call(device_);
    std::vector<c10::IValue> arguments;
    arguments.reserve(2);  // with self
    arguments.emplace_back(As(dtype_, call.Up(latents)));
    const absl::StatusOr<at::Tensor> answer = TensorOf(forward_(std::move(arguments)));
    if (!answer.ok()) return answer.status();
    return call.Down(As(at::kFloat, *answer)).contiguous();
  } catch (...) {
    return CurrentExceptionStatus();
  }
}

}  // namespace denoise
