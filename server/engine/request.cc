#include "server/engine/request.h"

#include <algorithm>

namespace denoise {

bool StateSelection::Wants(uint32_t step, uint32_t total) const {
  if (std::binary_search(steps.begin(), steps.end(), step)) return true;
  if (step == 0) return false;
  if (step == total) return any();
  return every_n_steps > 0 && step % every_n_steps == 0;
}

int Request::DenoiserRows(const Row& row) const {
  if (!row.denoise) return 0;
  const bool acts =
      guided && row.noise_ratio > guidance_sigma_min && row.noise_ratio <= guidance_sigma_max;
  return acts ? 2 : 1;
}

uint64_t Request::denoiser_calls_per_chain() const {
  return std::count_if(table->rows.begin(), table->rows.end(),
                       [](const Row& row) { return row.denoise; });
}

uint64_t Request::rows_per_chain() const {
  uint64_t rows = 0;
  for (const Row& row : table->rows) rows += DenoiserRows(row);
  return rows;
}

}  // namespace denoise
