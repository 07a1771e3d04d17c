// Every way in which a model's denoiser can be run.
#ifndef DENOISE_SERVER_MODEL_TUNING_VARIANTS_H_
#define DENOISE_SERVER_MODEL_TUNING_VARIANTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser/carrier.h"
#include "server/model/denoiser/denoiser.h"
#include "server/model/folder/model_files.h"

namespace denoise {

// The operator's wishes.
struct VariantWishes {
  std::string executor = "auto";      // or "torchscript", "aotinductor"
  std::string layout = "auto";        // or "contiguous", "channels_last"
  std::string precision = "float32";  // the weights' own; or "bfloat16"
  int callers = 1;                    // threads that may call a denoiser at once
  Carrier carrier = nullptr;          // where denoisers are called; null: on the calling thread
};

struct Variant {
  std::shared_ptr<const Denoiser> denoiser;
  // max|a-b| / max|b| of its answers a to those b of the plain call.
  double relative_error = 0;
};

// The variants that the wishes leave, the one that is run where nothing is measured first:
// TorchScript where there is a denoiser.pt, channels_last where the model has convolutions (on an
// accelerator only in 16 bits).
//
// `plain`: the call that all others are compared with, TorchScript, contiguous, in the weights' own
// precision, or the package where there is nothing else; it has passed the examination, whose
// findings are in `info`. A package has the layout and the precision that it was compiled for.
// Where the operator has left a choice, variants are left out that are in another precision than
// wished for, cannot be loaded or called, or differ by more than rounding from the plain call (in
// bfloat16, from the same call in bfloat16); of a package `warnings` then tell why. Where the
// operator has left none, what differs is told in `warnings`. INVALID_ARGUMENT where a wish cannot
// be fulfilled. Without a carrier, on the thread of an engine.
absl::StatusOr<std::vector<Variant>> MakeVariants(const DenoiserFiles& files, const ModelInfo& info,
                                                  std::shared_ptr<const Denoiser> plain,
                                                  const VariantWishes& wishes,
                                                  std::vector<std::string>* warnings);

// The variant that a way runs, on another device and for one caller.
absl::StatusOr<std::shared_ptr<const Denoiser>> LoadVariant(const DenoiserFiles& files,
                                                            const ModelInfo& info,
                                                            const TuningResult& way,
                                                            c10::Device device);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_TUNING_VARIANTS_H_
