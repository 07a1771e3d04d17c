#include "server/engine/batch_planner.h"

#include <algorithm>

namespace denoise {
namespace {

// A row that only draws noise and scales costs about 3 ns a value: a millisecond's worth.
constexpr int64_t kForwardValuesPerTick = 300'000;

}  // namespace

int64_t PaddedRows(int64_t rows, absl::Span<const int64_t> sizes) {
  if (rows == 0) return 0;
  const auto it = std::lower_bound(sizes.begin(), sizes.end(), rows);
  return it == sizes.end() ? rows : *it;
}

int BatchPlanner::NextModel(absl::Span<const Candidate> candidates) const {
  // Round robin: the smallest number above the last one's, else the smallest of all.
  int above = -1;
  int smallest = -1;
  for (const Candidate& candidate : candidates) {
    const int model = candidate.model;
    if (smallest < 0 || model < smallest) smallest = model;
    if (model > last_model_ && (above < 0 || model < above)) above = model;
  }
  return above >= 0 ? above : smallest;
}

const Batch& BatchPlanner::Plan(absl::Span<const Candidate> candidates,
                                absl::Span<const std::vector<int64_t>> sizes) {
  batch_.chains.clear();
  batch_.rows = 0;
  batch_.padded_rows = 0;
  batch_.model = NextModel(candidates);
  if (batch_.model < 0) return batch_;
  last_model_ = batch_.model;

  const std::vector<int64_t>& allowed = sizes[batch_.model];
  const int64_t max_rows = allowed.empty() ? 1 : allowed.back();
  int64_t forward_values = 0;
  for (const Candidate& candidate : candidates) {
    if (candidate.model != batch_.model) continue;
    if (candidate.denoiser_rows == 0) {
      if (forward_values >= kForwardValuesPerTick) continue;
      forward_values += candidate.values;
    } else {
      const bool alone = batch_.rows == 0;  // also what is larger than any batch must run
      if (!alone && batch_.rows + candidate.denoiser_rows > max_rows) continue;
      batch_.rows += candidate.denoiser_rows;
    }
    batch_.chains.push_back(candidate.chain);
    if (batching_ == Batching::kNone) break;
    if (batch_.rows >= max_rows && forward_values >= kForwardValuesPerTick) break;
  }
  batch_.padded_rows = PaddedRows(batch_.rows, allowed);
  return batch_;
}

}  // namespace denoise
