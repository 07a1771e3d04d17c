// What an engine does between two denoiser calls, on time that is simulated.
#ifndef DENOISE_SIMULATION_REPLICA_H_
#define DENOISE_SIMULATION_REPLICA_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "server/engine/batch_planner.h"
#include "server/engine/chain.h"
#include "server/engine/chain_exchange.h"
#include "server/engine/clock.h"
#include "server/engine/policy.h"
#include "server/engine/waiting_queue.h"

namespace denoise {

// The order of things is that of Engine::Loop, and what decides is its own code: WaitingQueue,
// Policy, BatchPlanner, ChainExchange. Left out are threads, executors and event streams.
// simulation_test.cc has a real Engine run the same load on a clock of its own, and compares every
// batch.
class Replica {
 public:
  struct Options {
    int index = 0;  // in the waiting queue
    Batching batching = Batching::kStep;
    size_t max_active = 256;  // chains
    Policy policy = {};
    // As an engine's. Whoever makes the replicas has them join it, so as to know who is woken.
    ChainExchange* exchange = nullptr;
  };

  // The queue outlives it. Requests have one sample each, unguided.
  Replica(Options options, const std::vector<int64_t>& batch_sizes, WaitingQueue* queue);

  // A tick begins: takes what the others and the queue have for it, and plans. False: there is
  // nothing to run.
  bool Begin(SteadyTime now);
  // Of the tick that has begun: the batch, and whose chains those of its `chains` are.
  const Batch& batch() const { return *batch_; }
  const Request& request(size_t chain) const { return *chains_[chain].request; }

  // The tick has ended: chains go on, and those at their end leave.
  // Calls `ended(request)` for each of these, in the order of the batch.
  template <typename Ended>
  void End(Ended ended) {
    for (const size_t i : batch_->chains) {
      Chain& chain = chains_[i];
      const int rows = chain.request->DenoiserRows(chain.next_row());
      chain.denoiser_rows_left -= rows;
      chain.request->work->Done(rows);
      ++chain.row;
      if (chain.at_end()) ended(*chain.request);
    }
    std::erase_if(chains_, [](const Chain& chain) { return chain.at_end(); });
    CountLoad();
  }

 private:
  void ReceiveChains();
  void Admit(SteadyTime now);
  void SendChains(SteadyTime now);
  std::vector<ChainExchange::Parcel> Pack(SteadyTime now);
  void RankChains(SteadyTime now);
  void CountLoad();

  const Options options_;
  WaitingQueue* const queue_;
  ChainExchange* const exchange_;
  const std::vector<std::vector<int64_t>> batch_sizes_;
  BatchPlanner planner_;
  const Batch* batch_ = nullptr;
  std::vector<Chain> chains_;
  std::vector<std::pair<Rank, size_t>> ranks_;
  std::vector<Candidate> candidates_;
};

}  // namespace denoise

#endif  // DENOISE_SIMULATION_REPLICA_H_
