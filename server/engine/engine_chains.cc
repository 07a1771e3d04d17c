// How chains come to an engine, move between engines, and leave.
#include <algorithm>
#include <utility>

#include "server/engine/engine.h"
#include "server/engine/publish.h"

namespace denoise {

void Engine::Park() {
  for (Chain& chain : chains_) {
    if (!chain.request->stream->HasRoom()) parked_.push_back(std::move(chain));
  }
  std::erase_if(chains_, [](const Chain& chain) { return chain.request == nullptr; });
}

// Before anything new is admitted: what has begun goes on.
void Engine::Unpark() {
  for (Chain& chain : parked_) {
    if (chains_.size() >= options_.max_active) break;
    if (chain.request->stream->HasRoom()) chains_.push_back(std::move(chain));
  }
  std::erase_if(parked_, [](const Chain& chain) { return chain.request == nullptr; });
}

void Engine::Admit() {
  size_t room = options_.max_active - std::min(options_.max_active, chains_.size());
  if (options_.batching == Batching::kRequest) {
    // As many chains as the largest batch of the first model holds, and only into an empty engine.
    int64_t largest = 1;
    for (auto sizes = batch_sizes_.rbegin(); sizes != batch_sizes_.rend(); ++sizes) {
      if (!sizes->empty()) largest = sizes->back();
    }
    room = chains_.empty() ? std::min<size_t>(room, largest) : 0;
  }
  // Also without room, because the queue shares chains out by how many each engine has.
  WaitingQueue::Load load{.active = chains_.size(), .room = room};
  for (const Chain& chain : chains_) {
    load.least_share = std::min(load.least_share, chain.standing.share);
    load.bytes += chain.bytes;
  }
  for (const Chain& chain : parked_) load.bytes += chain.bytes;
  for (ChainRange& range : queue_->Pull(options_.index, load, clock_->Now())) {
    StartChains(range);
  }
}

void Engine::StartChains(ChainRange& range) {
  const Request& request = *range.request;
  EventStream& stream = *request.stream;
  if (stream.ended()) return;
  if (request.deadline.has_value() && clock_->Now() >= *request.deadline) {
    stream.Fail(request.DeadlinePassed("while the request was waiting"));
    return;
  }
  const int model = ModelOf(request);
  if (model < 0) return;
  if (stream.Activate()) metrics_->QueueSeconds(stream.queue_seconds().value_or(0));

  Executor& executor = *models_[model].executor;
  for (uint32_t i = range.first; i < range.first + range.count; ++i) {
    const ChainStart start = StartOf(request, i);
    Chain chain;
    chain.request = range.request;
    chain.index = i;
    chain.model = model;
    chain.row = request.first_row(i);
    chain.standing = range.standing;
    if (request.evaluation == nullptr) {
      chain.standing.share += range.rows_per_chain * (i - range.first);
    }
    chain.active = range.active.TakeOne();
    chain.bytes = range.bytes_per_chain;
    chain.denoiser_rows = range.rows_per_chain;
    chain.denoiser_rows_left = range.rows_per_chain;
    if (!Place(chain, executor.Start(start))) return;
    if (request.evaluation != nullptr) {
      request.evaluation->SetPrior(i, PriorNats(request.model->schedule, start.x));
    }
  }
  if (request.states.Wants(0, request.table->total_steps)) {
    PublishStarts(absl::MakeSpan(chains_).last(range.count));
  }
}

// Step 0 of chains of one request, which have just been started.
void Engine::PublishStarts(absl::Span<Chain> chains) {
  Executor& executor = *models_[chains[0].model].executor;
  std::vector<RowBatch::Outcome> outcomes(chains.size());
  for (size_t i = 0; i < chains.size(); ++i) {
    RowBatch::Outcome& outcome = outcomes[i];
    outcome.publish = true;
    outcome.x.resize(executor.model().shape.values());
    executor.Read(chains[i].slot, outcome.x.data());
    decoding_.Add(chains[i], nullptr, &outcome);
  }
  Decode(chains[0].model);
  for (size_t i = 0; i < chains.size(); ++i) {
    if (const auto failure = FailureOf(chains[i], nullptr, outcomes[i])) {
      Fail(chains[i], *failure);
    } else {
      PublishState(chains[i], nullptr, outcomes[i]);
    }
  }
}

bool Engine::Place(Chain& chain, const absl::StatusOr<SlotId>& slot) {
  if (!slot.ok()) {
    metrics_->ChainFailed("no_memory");
    chain.request->stream->Fail(slot.status());
    return false;
  }
  chain.slot = *slot;
  chain.key = keys_.Hold(chain.model, chain.request->conditions.get());
  chains_.push_back(std::move(chain));
  return true;
}

void Engine::ReceiveChains() {
  if (exchange_ == nullptr) return;
  for (ChainExchange::Parcel& parcel : exchange_->Take(options_.index)) {
    Chain& chain = parcel.chain;
    chain.model = ModelOf(*chain.request);
    if (chain.model < 0) continue;
    Place(chain, models_[chain.model].executor->Adopt(std::move(parcel.state)));
  }
}

// Every second one that could run, by rank, so that both have as much that is urgent. Those of an
// Evaluate too: each has noise of its own, and its terms meet in the request.
std::vector<ChainExchange::Parcel> Engine::Pack() {
  std::vector<ChainExchange::Parcel> parcels;
  parcels.reserve(chains_.size());  // what is taken out of the executor is surely packed
  RankChains(clock_->Now());
  bool goes = true;
  for (const auto& [rank, i] : ranks_) {
    Chain& chain = chains_[i];
    if (!chain.request->stream->HasRoom()) continue;
    goes = !goes;
    if (!goes) continue;
    std::unique_ptr<ChainState> state = models_[chain.model].executor->Extract(chain.slot);
    if (state == nullptr) continue;
    keys_.Release(chain.key);
    parcels.push_back({std::move(chain), std::move(state)});
  }
  std::erase_if(chains_, [](const Chain& chain) { return chain.request == nullptr; });
  return parcels;
}

void Engine::SendChains() {
  if (exchange_ == nullptr) return;
  if (chains_.empty()) {
    exchange_->Ask(options_.index);
    return;
  }
  exchange_->AskNoMore(options_.index);
  if (chains_.size() < 2 || !exchange_->anyone_asks()) return;
  exchange_->Send(options_.index, [this] { return Pack(); });
}

void Engine::Free(const Chain& chain) {
  models_[chain.model].executor->Free(chain.slot);
  keys_.Release(chain.key);
}

bool Engine::HasEnded(const Chain& chain, SteadyTime now) {
  EventStream& stream = *chain.request->stream;
  if (chain.at_end() || stream.ended()) return true;
  if (!chain.request->deadline.has_value() || now < *chain.request->deadline) return false;
  stream.Fail(chain.request->DeadlinePassed("while the chains ran"));
  return true;
}

void Engine::RetireEnded() {
  const SteadyTime now = clock_->Now();
  for (std::vector<Chain>* chains : {&chains_, &parked_}) {
    std::erase_if(*chains, [&](const Chain& chain) {
      if (!HasEnded(chain, now)) return false;
      Free(chain);
      return true;
    });
  }
}

}  // namespace denoise
