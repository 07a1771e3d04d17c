// Every way in which a model's denoiser can be carried out.
#ifndef DENOISE_SERVER_MODEL_VARIANTS_H_
#define DENOISE_SERVER_MODEL_VARIANTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_info.h"
#include "server/model/denoiser.h"

namespace denoise {

// The operator's wishes.
struct VariantWishes {
  std::string executor = "auto";      // or "torchscript"
  std::string layout = "auto";        // or "contiguous", "channels_last"
  std::string precision = "float32";  // the weights' own; or "bfloat16"
};

struct Variant {
  std::shared_ptr<const Denoiser> denoiser;
  // max|a-b| / max|b| of its answers a to those b of the plain call.
  double relative_error = 0;
};

// The variants that the wishes leave, the one that is run where nothing is measured first:
// channels_last where the model has convolutions, on an accelerator only in 16 bits, which its
// matrix units take so. All have the precision that is wished for, and are on the plain call's
// device.
//
// `plain`: the call that all others are held against, TorchScript, contiguous, in the weights' own
// precision; it has passed the examination, whose findings are in `info`. `path`: of denoiser.pt.
// Where the operator has left a choice, variants are left out that cannot be called, or that differ
// by more than rounding from the plain call (in bfloat16, from the same call in bfloat16); where
// not, what differs is told in `warnings`. INVALID_ARGUMENT where a wish cannot be fulfilled.
// Calls the denoisers: on the thread of an engine.
absl::StatusOr<std::vector<Variant>> MakeVariants(const std::string& path, const ModelInfo& info,
                                                  std::shared_ptr<const Denoiser> plain,
                                                  const VariantWishes& wishes,
                                                  std::vector<std::string>* warnings);

// The same way to carry out the model on another device, with weights of its own there.
absl::StatusOr<std::shared_ptr<const Denoiser>> OnDevice(const std::string& path,
                                                         const ModelInfo& info,
                                                         const Denoiser& like,
                                                         const std::string& device);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_VARIANTS_H_
