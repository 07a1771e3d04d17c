#include "server/model/autocast_denoiser.h"

#include <utility>

#include "ATen/autocast_mode.h"

namespace denoise {
namespace {

// Autocast of the calling thread, while this lives.
class Autocast {
 public:
  Autocast()
      : enabled_(at::autocast::is_autocast_enabled(at::kCPU)),
        dtype_(at::autocast::get_autocast_dtype(at::kCPU)) {
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, true);
  }
  ~Autocast() {
    at::autocast::set_autocast_enabled(at::kCPU, enabled_);
    at::autocast::set_autocast_dtype(at::kCPU, dtype_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
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
                .file = denoiser->file()}),
      denoiser_(std::move(denoiser)) {}

absl::StatusOr<at::Tensor> AutocastDenoiser::Run(const at::Tensor& x, const at::Tensor& t,
                                                 absl::Span<const at::Tensor> further) const {
  const Autocast autocast;
  return denoiser_->Run(x, t, further);
}

}  // namespace denoise
