#include "simulation/replica.h"

#include <algorithm>

namespace denoise {

Replica::Replica(Options options, const std::vector<int64_t>& batch_sizes, WaitingQueue* queue)
    : options_(options),
      queue_(queue),
      exchange_(options.batching == Batching::kRequest ? nullptr : options.exchange),
      batch_sizes_({batch_sizes}),
      planner_(options.batching) {}

void Replica::ReceiveChains() {
  if (exchange_ == nullptr) return;
  for (ChainExchange::Parcel& parcel : exchange_->Take(options_.index)) {
    chains_.push_back(std::move(parcel.chain));
  }
}

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
    chain.active = range.active.TakeOne();
    chain.denoiser_rows = range.rows_per_chain;
    chain.denoiser_rows_left = range.rows_per_chain;
  }
}

void Replica::SendChains(SteadyTime now) {
  if (exchange_ == nullptr) return;
  if (chains_.empty()) {
    exchange_->Ask(options_.index);
    return;
  }
  exchange_->AskNoMore(options_.index);
  if (chains_.size() < 2 || !exchange_->anyone_asks()) return;
  exchange_->Send(options_.index, [&] { return Pack(now); });
}

std::vector<ChainExchange::Parcel> Replica::Pack(SteadyTime now) {
  std::vector<ChainExchange::Parcel> parcels;
  RankChains(now);
  bool goes = true;
  for (const auto& [rank, i] : ranks_) {
    goes = !goes;
    if (goes) parcels.push_back({std::move(chains_[i]), nullptr});
  }
  std::erase_if(chains_, [](const Chain& chain) { return chain.request == nullptr; });
  return parcels;
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
  ReceiveChains();
  Admit(now);
  SendChains(now);
  RankChains(now);
  candidates_.clear();
  for (const auto& [rank, i] : ranks_) {
    Candidate& candidate = candidates_.emplace_back();
    candidate.chain = i;
    candidate.priority = rank.priority;
    candidate.denoiser_rows = chains_[i].request->DenoiserRows(chains_[i].next_row());
    candidate.next_row = chains_[i].row;
  }
  batch_ = &planner_.Plan(candidates_, batch_sizes_);
  if (batch_->key >= 0) return true;
  CountLoad();
  return false;
}

void Replica::CountLoad() {
  if (exchange_ == nullptr) return;
  exchange_->Report(options_.index, std::min(chains_.size(), candidates_.size()));
}

}  // namespace denoise
