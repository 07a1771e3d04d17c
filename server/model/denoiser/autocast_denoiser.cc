#include "server/model/denoiser/autocast_denoiser.h"

#include <utility>

#include "ATen/autocast_mode.h"

namespace denoise {
namespace {

// Autocast of the calling thread for a kind of device, while this lives.
class Autocast {
 public:
  explicit Autocast(c10::DeviceType device)
      : device_(device),
        enabled_(at::autocast::is_autocast_enabled(device)),
        dtype_(at::autocast::get_autocast_dtype(device)) {
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, true);
  }
  ~Autocast() {
    at::autocast::set_autocast_enabled(device_, enabled_);
    at::autocast::set_autocast_dtype(device_, dtype_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  const c10::DeviceType device_;
  const bool enabled_;
  const at::ScalarType dtype_;
};

}  // namespace

AutocastDenoiser::AutocastDenoiser(std::shared_ptr<const Denoiser> denoiser)
    : Denoiser({.layout = denoiser->layout(),
                .dtype = denoiser->dtype(),
                .has_convolutions = denoiser->has_convolutions(),
                .autocast = true,
                .max_rows = denoiser->max_rows(),
                .file = denoiser->file(),
                .device = denoiser->device()}),
      denoiser_(std::move(denoiser)) {}

absl::StatusOr<at::Tensor> AutocastDenoiser::Run(const at::Tensor& x, const at::Tensor& t,
                                                 absl::Span<const at::Tensor> further) const {
  const Autocast autocast(device().type());
  return denoiser_->Run(x, t, further);
}

}  // namespace denoise
