// The loop of one replica: plan, execute, publish, retire.
#ifndef DENOISE_SERVER_ENGINE_ENGINE_H_
#define DENOISE_SERVER_ENGINE_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/engine/batch_keys.h"
#include "server/engine/batch_planner.h"
#include "server/engine/chain.h"
#include "server/engine/chain_exchange.h"
#include "server/engine/clock.h"
#include "server/engine/decoding.h"
#include "server/engine/executor.h"
#include "server/engine/failure.h"
#include "server/engine/mutex.h"
#include "server/engine/policy.h"
#include "server/engine/row_batch.h"
#include "server/engine/waiting_queue.h"
#include "server/metrics/metrics.h"

namespace denoise {

// One thread that owns a replica's executors and its active chains; nothing of those is locked.
// Public functions are thread-safe.
class Engine {
 public:
  struct Options {
    int index = 0;       // in the waiting queue
    std::string device;  // for metrics: "cpu:0"
    Batching batching = Batching::kStep;
    size_t max_active = 256;  // chains
    Policy policy = {};       // which of them go first
    // Where it gets chains from when it runs dry, and the others from it. Null: nowhere. Outlives
    // the engine.
    ChainExchange* exchange = nullptr;
  };

  // Starts the thread. The queue, the metrics and the clock outlive the engine.
  Engine(Options options, WaitingQueue* queue, Metrics* metrics, const Clock* clock);
  // Stops.
  ~Engine();

  // Runs `work` on the engine's thread, between two ticks, and waits for its answer. UNAVAILABLE
  // after Stop().
  absl::Status Run(std::function<absl::Status()> work);
  // Makes an executor on the engine's thread; from then on its model's chains are run.
  absl::Status AddModel(ExecutorFactory factory);
  // Destroys the executor of the model with this ModelInfo::id, of which no request must be left.
  // NOT_FOUND, or FAILED_PRECONDITION where one is.
  absl::Status RemoveModel(uint64_t id);
  // There may be something to do.
  void Wake();
  // Ends the requests of the chains still active with UNAVAILABLE and joins the thread.
  void Stop();

  // Chains that have begun and not ended, parked ones too, and denoiser rows that they still need.
  size_t chains_active() const { return chains_active_.load(std::memory_order_relaxed); }
  // Since when its turn, a tick and the errands before it, has lasted; absent where it waits for
  // work. For whoever watches that it comes back.
  std::optional<SteadyTime> busy_since() const;
  uint64_t rows_left() const { return rows_left_.load(std::memory_order_relaxed); }

 private:
  // What the inbox holds: work and where its answer goes.
  struct InboxTask {
    std::function<absl::Status()> work;
    std::function<void(absl::Status)> answer;
  };
  struct Served {
    std::unique_ptr<Executor> executor;
    ModelMetrics metrics;
  };

  void Loop();
  bool WaitForWork(bool idle);  // false: stop
  void RunInbox();
  void Park();
  void Unpark();
  void Admit();
  void StartChains(ChainRange& range);  // takes its chains out of range.active
  void PublishStarts(absl::Span<Chain> chains);
  bool Place(Chain& chain, const absl::StatusOr<SlotId>& slot);  // false: its request has failed
  std::vector<ChainExchange::Parcel> Pack();
  void SendChains();
  void ReceiveChains();
  void Free(const Chain& chain);
  bool HasEnded(const Chain& chain, SteadyTime now);
  void RetireEnded();
  void RankChains(SteadyTime now);
  void GatherCandidates();
  double Decode(int model);  // seconds
  bool Tick();               // false: nothing could be run
  void ObserveBatch(const Batch& batch);
  static absl::Span<const float> ResultOf(const Chain& chain, const RowTask& task,
                                          const RowBatch::Outcome& outcome);
  void Advance(const RowTask& task, RowBatch::Outcome& outcome);
  void Fail(Chain& chain, const Failure& failure);
  void CountLoad();
  int ModelNumber(uint64_t id) const;         // -1: none
  int ModelOf(const Request& request) const;  // -1: the request has failed

  const Options options_;
  WaitingQueue* const queue_;
  Metrics* const metrics_;
  const Clock* const clock_;
  ChainExchange* const exchange_;
  const EngineMetrics gauges_;

  // Of the engine's thread alone.
  BatchPlanner planner_;
  std::vector<Served> models_;                     // without an executor: one that has gone
  std::vector<std::vector<int64_t>> batch_sizes_;  // by model
  std::vector<std::vector<double>> batch_seconds_;
  std::vector<Chain> chains_;
  // Chains whose readers have enough to read. They keep their slots in the executor and their
  // memory, but not their place among the max_active.
  std::vector<Chain> parked_;
  BatchKeys keys_;                              // held by both
  std::vector<std::pair<Rank, size_t>> ranks_;  // of chains_, by rank
  std::vector<Candidate> candidates_;
  RowBatch row_batch_;
  Decoding decoding_;

  std::atomic<size_t> chains_active_{0};
  std::atomic<uint64_t> rows_left_{0};
  std::atomic<SteadyTime::rep> busy_since_{0};  // 0: not busy

  Mutex mutex_;
  CondVar condition_;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<InboxTask> inbox_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // last, so that it is joined before anything it uses goes
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_ENGINE_H_
