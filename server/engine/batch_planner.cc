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

int BatchPlanner::NextKey(absl::Span<const Candidate> candidates) const {
  // Round robin: the smallest number above the last one's, else the smallest of all.
  int above = -1;
  int smallest = -1;
  for (const Candidate& candidate : candidates) {
    const int key = candidate.key;
    if (smallest < 0 || key < smallest) smallest = key;
    if (key > last_key_ && (above < 0 || key < above)) above = key;
  }
  return above >= 0 ? above : smallest;
}

bool BatchPlanner::Fits(const Candidate& candidate, int64_t max_rows) const {
  // Alone, also what is larger than any batch must run.
  return batch_.rows == 0 || batch_.rows + candidate.denoiser_rows <= max_rows;
}

void BatchPlanner::Take(const Candidate& candidate) {
  batch_.chains.push_back(candidate.chain);
  batch_.rows += candidate.denoiser_rows;
}

bool BatchPlanner::TakeTerms(Terms& terms, int64_t max_rows) {
  while (true) {
    bool left = false;
    for (; terms.chain < terms.chains.size(); ++terms.chain) {
      const Candidate& candidate = terms.chains[terms.chain];
      if (terms.row >= candidate.next_row + candidate.rows_left) continue;
      left = true;
      if (terms.row < candidate.next_row) continue;  // it is ahead of the others
      if (!Fits(candidate, max_rows)) return true;
      Take(candidate);
    }
    if (!left) return false;
    ++terms.row;
    terms.chain = 0;
  }
}

const Batch& BatchPlanner::Plan(absl::Span<const Candidate> candidates,
                                absl::Span<const std::vector<int64_t>> sizes) {
  batch_.chains.clear();
  batch_.rows = 0;
  batch_.padded_rows = 0;
  batch_.model = -1;
  batch_.key = NextKey(candidates);
  if (batch_.key < 0) return batch_;
  last_key_ = batch_.key;
  const auto of_key = [&](const Candidate& candidate) { return candidate.key == batch_.key; };
  batch_.model = std::find_if(candidates.begin(), candidates.end(), of_key)->model;

  const std::vector<int64_t>& allowed = sizes[batch_.model];
  const int64_t max_rows = allowed.empty() || batching_ == Batching::kNone ? 1 : allowed.back();
  const int64_t half = std::max<int64_t>(1, max_rows / 2);
  int64_t forward_values = 0;
  cut_short_.clear();
  for (size_t i = 0, next = 0; i < candidates.size(); i = next) {
    const Candidate& candidate = candidates[i];
    next = i + 1;
    if (!of_key(candidate)) continue;
    if (candidate.evaluation != nullptr) {
      Terms terms;
      terms.row = candidate.next_row;
      for (; next < candidates.size() && candidates[next].evaluation == candidate.evaluation;
           ++next) {
        terms.row = std::min(terms.row, candidates[next].next_row);
      }
      terms.chains = candidates.subspan(i, next - i);
      if (TakeTerms(terms, std::min(max_rows, batch_.rows + half))) cut_short_.push_back(terms);
    } else if (candidate.denoiser_rows == 0) {
      if (forward_values >= kForwardValuesPerTick) continue;
      forward_values += candidate.values;
      Take(candidate);
    } else if (Fits(candidate, max_rows)) {
      Take(candidate);
    }
    if (batching_ == Batching::kNone) break;
    if (batch_.rows >= max_rows && forward_values >= kForwardValuesPerTick) break;
  }
  // What the others have left of the batch.
  for (Terms& terms : cut_short_) TakeTerms(terms, max_rows);
  batch_.padded_rows = PaddedRows(batch_.rows, allowed);
  return batch_;
}

}  // namespace denoise
