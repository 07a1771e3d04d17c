// A model's denoiser from the files that its folder has.
#ifndef DENOISE_SERVER_MODEL_DENOISER_LOAD_DENOISER_H_
#define DENOISE_SERVER_MODEL_DENOISER_LOAD_DENOISER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/folder/model_files.h"

namespace denoise {

// "torchscript" or "aotinductor", for a wish that is one of these or "auto": TorchScript where
// there is a denoiser.pt. INVALID_ARGUMENT, beginning with --executor, for another wish and where
// the folder has no such file.
absl::StatusOr<absl::string_view> ChooseExecutor(const DenoiserFiles& files,
                                                 absl::string_view wish);

// Loads the file that `executor` (as ChooseExecutor answers) runs. `layout` is TorchScript's; a
// package has the one that it was compiled for, contiguous, and runs on the CPU alone. `callers`:
// how many threads may call it at once. Errors as TorchScriptDenoiser and AotInductorDenoiser have
// them.
absl::StatusOr<std::unique_ptr<Denoiser>> LoadDenoiser(const DenoiserFiles& files,
                                                       const ModelInfo& model,
                                                       absl::string_view executor, Layout layout,
                                                       c10::Device device, int callers);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_LOAD_DENOISER_H_
