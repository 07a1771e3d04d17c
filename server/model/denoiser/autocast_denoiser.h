// A denoiser run in bfloat16 where LibTorch holds that to be safe.
#ifndef DENOISE_SERVER_MODEL_DENOISER_AUTOCAST_DENOISER_H_
#define DENOISE_SERVER_MODEL_DENOISER_AUTOCAST_DENOISER_H_

#include <memory>

#include "server/model/denoiser/denoiser.h"

namespace denoise {

// Calls another denoiser, whose weights are float32, under autocast: convolutions and matrix
// products are computed in bfloat16, sums such as those of a norm in float32. The weights are the
// other's; each call casts them. Autocast is a setting of the calling thread, for the call's time.
class AutocastDenoiser : public Denoiser {
 public:
  explicit AutocastDenoiser(std::shared_ptr<const Denoiser> denoiser);

  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& t,
                                 absl::Span<const at::Tensor> further) const override;
  absl::string_view executor() const override { return denoiser_->executor(); }

 private:
  const std::shared_ptr<const Denoiser> denoiser_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_AUTOCAST_DENOISER_H_
