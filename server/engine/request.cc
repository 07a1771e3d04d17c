#include "server/engine/request.h"

#include <algorithm>

namespace denoise {

bool StateSelection::Wants(uint32_t step, uint32_t total) const {
  if (std::binary_search(steps.begin(), steps.end(), step)) return true;
  if (step == 0) return false;
  if (step == total) return any();
  return every_n_steps > 0 && step % every_n_steps == 0;
}

uint64_t Request::rows_per_chain() const {
  const auto denoising = std::count_if(table->rows.begin(), table->rows.end(),
                                       [](const Row& row) { return row.denoise; });
  return static_cast<uint64_t>(denoising) * (guided ? 2 : 1);
}

}  // namespace denoise
