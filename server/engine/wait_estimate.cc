#include "server/engine/wait_estimate.h"

#include <algorithm>

namespace denoise {

double RowsPerSecond(const ModelInfo& model) {
  double best = 0;
  const size_t measured = std::min(model.batch_sizes.size(), model.denoiser_seconds.size());
  for (size_t i = 0; i < measured; ++i) {
    if (model.denoiser_seconds[i] <= 0) continue;
    best = std::max(best, static_cast<double>(model.batch_sizes[i]) / model.denoiser_seconds[i]);
  }
  return best * model.replicas;
}

absl::Duration TimeFor(const ModelInfo& model, uint64_t rows) {
  const double speed = RowsPerSecond(model);
  return speed > 0 ? absl::Seconds(static_cast<double>(rows) / speed) : absl::ZeroDuration();
}

absl::Duration LeastTimeFor(const ModelInfo& model, const LeastWork& work) {
  if (model.denoiser_seconds.empty()) return absl::ZeroDuration();
  const double call =
      *std::min_element(model.denoiser_seconds.begin(), model.denoiser_seconds.end());
  return std::max(absl::Seconds(call * static_cast<double>(work.calls)),
                  TimeFor(model, work.rows + work.rows_before));
}

uint64_t CallsIn(const ModelInfo& model, absl::Duration time) {
  if (model.denoiser_seconds.empty() || model.denoiser_seconds.back() <= 0) return 0;
  return static_cast<uint64_t>(absl::ToDoubleSeconds(time) / model.denoiser_seconds.back());
}

absl::Duration RetryDelay(const ModelInfo& model, uint64_t rows, size_t requests) {
  const absl::Duration each = TimeFor(model, rows) / std::max<double>(1, requests);
  return std::clamp(each, absl::Milliseconds(100), absl::Seconds(30));
}

}  // namespace denoise
