#include "server/model/denoiser/torchscript_denoiser.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "c10/core/InferenceMode.h"
#include "server/model/runtime/device_call.h"
#include "server/model/runtime/torch_error.h"
#include "server/model/denoiser/torchscript_module.h"

namespace denoise {

absl::StatusOr<std::unique_ptr<Denoiser>> TorchScriptDenoiser::Load(
    const std::string& path, Layout layout, const std::vector<ModelInput>& inputs,
    c10::Device device) {
  ForwardSpec forward;
  forward.arguments = 2 + inputs.size();
  forward.signature = "forward(x, t";
  for (const ModelInput& input : inputs) absl::StrAppend(&forward.signature, ", ", input.name);
  forward.signature += ")";
  forward.mend =
      "change num_classes or inputs in model.json, or export a module with that signature";
  absl::StatusOr<TorchScriptModule> loaded = LoadTorchScript(path, layout, forward, device);
  if (!loaded.ok()) return loaded.status();
  try {
    return std::unique_ptr<Denoiser>(new TorchScriptDenoiser(
        std::move(loaded->module), {.layout = layout,
                                    .dtype = loaded->dtype,
                                    .has_convolutions = loaded->has_convolutions,
                                    .device = device}));
  } catch (...) {
    return CurrentExceptionStatus();
  }
}

absl::StatusOr<at::Tensor> TorchScriptDenoiser::Run(const at::Tensor& x, const at::Tensor& t,
                                                    absl::Span<const at::Tensor> further) const {
  try {
    const c10::InferenceMode inference;
    DeviceCall call(device());
    std::vector<c10::IValue> arguments;
    arguments.reserve(3 + further.size());  // with self
    arguments.emplace_back(As(dtype(), call.Up(x)));
    arguments.emplace_back(call.Up(t));
    for (const at::Tensor& input : further) arguments.emplace_back(As(dtype(), call.Up(input)));
    const absl::StatusOr<at::Tensor> answer = TensorOf(forward_(std::move(arguments)));
    if (!answer.ok()) return answer.status();
    return call.Down(As(at::kFloat, *answer));
  } catch (...) {
    return CurrentExceptionStatus();
  }
}

}  // namespace denoise
