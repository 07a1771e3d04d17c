#include "server/engine/batch_planner.h"

#include <algorithm>

namespace denoise {
namespace {

// Of a row that only draws noise and scales.
constexpr double kSecondsPerForwardValue = 3e-9;
// A millisecond's worth.
constexpr int64_t kForwardValuesPerTick = 300'000;
// Of a model of which nothing was measured.
constexpr double kSecondsPerUnknownRow = 1e-3;

}  // namespace

int64_t PaddedRows(int64_t rows, absl::Span<const int64_t> sizes) {
  if (rows == 0) return 0;
  const auto it = std::lower_bound(sizes.begin(), sizes.end(), rows);
  return it == sizes.end() ? rows : *it;
}

double BatchPlanner::TurnOf(int key) const { return std::max(served_[key], now_); }

int BatchPlanner::NextKey(absl::Span<const Candidate> candidates) {
  // At the same time: the smallest number above the last one's, else the smallest of all.
  const auto sooner = [this](int a, int b) {
    const double turn_a = TurnOf(a);
    const double turn_b = TurnOf(b);
    if (turn_a != turn_b) return turn_a < turn_b;
    const bool a_is_above = a > last_key_;
    const bool b_is_above = b > last_key_;
    return a_is_above == b_is_above ? a < b : a_is_above;
  };
  int next = -1;
  for (const Candidate& candidate : candidates) {
    if (candidate.priority != candidates.front().priority) break;
    const int key = candidate.key;
    if (static_cast<size_t>(key) >= served_.size()) served_.resize(key + 1, 0);
    if (next < 0 || (key != next && sooner(key, next))) next = key;
  }
  return next;
}

void BatchPlanner::Charge(int64_t forward_values, absl::Span<const int64_t> sizes,
                          absl::Span<const double> seconds) {
  double cost = kSecondsPerForwardValue * static_cast<double>(forward_values);
  if (batch_.padded_rows > 0) {
    const auto size = std::find(sizes.begin(), sizes.end(), batch_.padded_rows) - sizes.begin();
    cost += static_cast<size_t>(size) < seconds.size()
                ? seconds[size]
                : kSecondsPerUnknownRow * static_cast<double>(batch_.padded_rows);
  }
  const double turn = TurnOf(batch_.key);
  served_[batch_.key] = turn + cost;
  now_ = turn;
  last_key_ = batch_.key;
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
                                absl::Span<const std::vector<int64_t>> sizes,
                                absl::Span<const std::vector<double>> seconds) {
  batch_.chains.clear();
  batch_.rows = 0;
  batch_.padded_rows = 0;
  batch_.model = -1;
  batch_.key = NextKey(candidates);
  if (batch_.key < 0) return batch_;
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
  const auto model = static_cast<size_t>(batch_.model);
  Charge(forward_values, allowed,
         model < seconds.size() ? seconds[model] : absl::Span<const double>());
  return batch_;
}

}  // namespace denoise
