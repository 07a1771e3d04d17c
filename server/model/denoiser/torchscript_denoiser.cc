#include "server/model/denoiser/torchscript_denoiser.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace denoise {

absl::StatusOr<std::unique_ptr<Denoiser>> TorchScriptDenoiser::Load(
    const std::string& path, Layout layout, const std::vector<ModelInput>& inputs,
    c10::Device device) {
  ForwardSpec forward;
  forward.arguments = 2 + inputs.size();
  forward.signature = "forward(x, t";
  for (const ModelInput& input : inputs) absl::StrAppend(&forward.signature, ", ", input.name);
  forward.signature += ")";
  forward.fix =
      "change num_classes or inputs in model.json, or export a module with that signature";
  absl::StatusOr<TorchScriptModule> loaded = TorchScriptModule::Load(path, layout, forward, device);
  if (!loaded.ok()) return loaded.status();
  const Traits traits = {.layout = layout,
                         .dtype = loaded->dtype(),
                         .has_convolutions = loaded->has_convolutions(),
                         .device = device};
  return std::unique_ptr<Denoiser>(new TorchScriptDenoiser(*std::move(loaded), traits));
}

absl::StatusOr<at::Tensor> TorchScriptDenoiser::Run(const at::Tensor& x, const at::Tensor& t,
                                                    absl::Span<const at::Tensor> further) const {
  std::vector<at::Tensor> arguments;
  arguments.reserve(2 + further.size());
  arguments.push_back(x);
  arguments.push_back(t);
  arguments.insert(arguments.end(), further.begin(), further.end());
  return module_.Forward(arguments, /*uncast=*/1);
}

}  // namespace denoise
