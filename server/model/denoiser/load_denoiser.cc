#include "server/model/denoiser/load_denoiser.h"

#include "absl/strings/str_cat.h"
#include "server/model/denoiser/aotinductor_denoiser.h"
#include "server/model/denoiser/torchscript_denoiser.h"

namespace denoise {
namespace {

constexpr char kTorchScript[] = "torchscript";
constexpr char kAotInductor[] = "aotinductor";

}  // namespace

absl::StatusOr<absl::string_view> ChooseExecutor(const DenoiserFiles& files,
                                                 absl::string_view wish) {
  if (wish == "auto") {
    return absl::string_view(files.torchscript.empty() ? kAotInductor : kTorchScript);
  }
  if (wish == kTorchScript) {
    if (!files.torchscript.empty()) return absl::string_view(kTorchScript);
    return absl::InvalidArgumentError(
        "--executor: torchscript needs a denoiser.pt, which is not there: add it, or leave the "
        "flag out");
  }
  if (wish == kAotInductor) {
    if (!files.package.empty()) return absl::string_view(kAotInductor);
    return absl::InvalidArgumentError(
        "--executor: aotinductor needs a denoiser.pt2, which is not there: export it with "
        "models/export_aotinductor.py, or leave the flag out");
  }
  return absl::InvalidArgumentError(absl::StrCat("--executor: ", std::string(wish),
                                                 " is not one of auto, torchscript, aotinductor"));
}

absl::StatusOr<std::unique_ptr<Denoiser>> LoadDenoiser(const DenoiserFiles& files,
                                                       const ModelInfo& model,
                                                       absl::string_view executor, Layout layout,
                                                       c10::Device device, int callers) {
  if (executor == kTorchScript) {
    return TorchScriptDenoiser::Load(files.torchscript, layout, model.inputs, device);
  }
  if (device.is_cpu()) return AotInductorDenoiser::Load(files.package, model, callers);
  return absl::InvalidArgumentError(
      absl::StrCat("--executor: denoiser.pt2 is compiled for CPUs and cannot run on ", device.str(),
                   ": use denoiser.pt there"));
}

}  // namespace denoise
