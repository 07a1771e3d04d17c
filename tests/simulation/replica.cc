#include "tests/simulation/replica.h"

#include <algorithm>

namespace denoise {

Replica::Replica(Options options, const std::vector<int64_t>& batch_sizes, WaitingQueue* queue)
    : options_(options), queue_(queue), batch_sizes_({batch_sizes}), planner_(options.batching) {}

void Replica::Admit(SteadyTime now) {
  size_t room = options_.max_active - std::min(options_.max_active, chains_.size());
  if (options_.batching == Batching::kRequest) {
    room = chains_.empty() ? std::min<size_t>(room, batch_sizes_[0].back()) : 0;
  }
  WaitingQueue::Load load{.active = chains_.size(), .room = room};
  for (const Chain& chain : chains_) {
    load.least_share = std::min(load.least_share, chain.standing.share);
  }
  for (ChainRange& range : queue_->Pull(options_.index, load, now)) {
    Chain& chain = chains_.emplace_back();
    chain.request = std::move(range.request);
    chain.standing = range.standing;
    chain.denoiser_rows = range.rows_per_chain;
    chain.denoiser_rows_left = range.rows_per_chain;
  }
}

void Replica::RankChains(SteadyTime now) {
  ranks_.clear();
  for (size_t i = 0; i < chains_.size(); ++i) {
    const Chain& chain = chains_[i];
    ranks_.emplace_back(options_.policy.RankOf(chain.standing, chain.denoiser_rows_left, now), i);
  }
  if (!std::is_sorted(ranks_.begin(), ranks_.end())) std::sort(ranks_.begin(), ranks_.end());
}

bool Replica::Begin(SteadyTime now) {
  Admit(now);
  RankChains(now);
  candidates_.clear();
  for (const auto& [rank, i] : ranks_) {
    Candidate& candidate = candidates_.emplace_back();
    candidate.chain = i;
    candidate.denoiser_rows = chains_[i].request->DenoiserRows(chains_[i].next_row());
    candidate.next_row = chains_[i].row;
  }
  batch_ = &planner_.Plan(candidates_, batch_sizes_);
  return batch_->key >= 0;
}

}  // namespace denoise
