// A denoiser whose calls are carried to another thread.
#ifndef DENOISE_SERVER_MODEL_DENOISER_CARRIED_DENOISER_H_
#define DENOISE_SERVER_MODEL_DENOISER_CARRIED_DENOISER_H_

#include <utility>

#include "server/model/denoiser/carrier.h"
#include "server/model/denoiser/denoiser.h"

namespace denoise {

// For the examination of a model while an engine runs others.
class CarriedDenoiser : public Denoiser {
 public:
  // `denoiser` outlives it.
  CarriedDenoiser(const Denoiser& denoiser, Carrier carrier)
      : Denoiser(denoiser), denoiser_(denoiser), carrier_(std::move(carrier)) {}

  // As the denoiser's own, and what the carrier answers where it does not come to that.
  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& t,
                                 absl::Span<const at::Tensor> further) const override {
    absl::StatusOr<at::Tensor> answer = absl::InternalError("the denoiser was not called");
    const absl::Status carried = Carry(carrier_, [&] {
      answer = denoiser_.Run(x, t, further);
      return absl::OkStatus();
    });
    if (!carried.ok()) return carried;
    return answer;
  }

  absl::string_view executor() const override { return denoiser_.executor(); }

 private:
  const Denoiser& denoiser_;
  const Carrier carrier_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_CARRIED_DENOISER_H_
