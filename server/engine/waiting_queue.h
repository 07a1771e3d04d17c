// The one place where requests wait, for all engines of a server.
#ifndef DENOISE_SERVER_ENGINE_WAITING_QUEUE_H_
#define DENOISE_SERVER_ENGINE_WAITING_QUEUE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/active_chains.h"
#include "server/engine/backlog.h"
#include "server/engine/mutex.h"
#include "server/engine/policy.h"
#include "server/engine/request.h"
#include "server/engine/tenants.h"

namespace denoise {

// Chains of a request, handed to one engine.
struct ChainRange {
  std::shared_ptr<const Request> request;
  uint32_t first = 0;
  uint32_t count = 0;           // 0: its deadline has passed
  uint64_t rows_per_chain = 0;  // of the request
  size_t bytes_per_chain = 0;   // 0 without max_bytes
  Standing standing;            // of the first of them
  ActiveChains active;          // all of them, for their tenant
};

// Thread-safe. Requests leave in the order of the policy, as there is room for their chains: in
// number, and in memory. Which chain is next does not depend on its size, so that large ones are
// not starved by small ones. What waits for room among its tenant's active chains is passed.
class WaitingQueue {
 public:
  struct Options {
    size_t max_waiting = 256;   // requests
    size_t max_tenants = 1024;  // that are remembered when they have nothing here
    // Memory for active chains, of all engines together; 0: no bound. What models and batches need
    // comes besides, and what requests bring is in their MemoryBudget.
    uint64_t max_bytes = 0;
    // Time for what may go before a request, of those that wait and those that run; 0: no bound.
    std::chrono::nanoseconds max_backlog{0};
    int engines = 1;
    Policy policy = {};
  };
  explicit WaitingQueue(Options options);

  // The place of a request that was just taken in, behind those that go before it now.
  struct Place {
    uint32_t requests_before = 0;
    uint64_t rows_before = 0;  // denoiser rows of the requests before it
  };

  // Never blocks. Takes the request only when it answers OK. RESOURCE_EXHAUSTED when full, or where
  // what goes before it takes longer than max_backlog; as of Tenants::Check where its tenant has
  // enough; INVALID_ARGUMENT where it could never run within max_bytes; UNAVAILABLE after Close().
  absl::StatusOr<Place> TryPush(std::shared_ptr<const Request> request);

  // What an engine says of itself when it pulls.
  struct Load {
    size_t active = 0;                  // chains
    size_t room = 0;                    // for chains besides those
    uint64_t bytes = 0;                 // bytes_per_chain of the active ones, in all
    uint64_t least_share = UINT64_MAX;  // of the standings of the active ones
  };
  // For engine `engine`: its fair share of the chains from the head, so that engines end up with
  // equally many. Empty when there is nothing for it now.
  std::vector<ChainRange> Pull(int engine, const Load& load, SteadyTime now);

  // Denoiser rows of waiting requests of the same model that go before `request`, were it taken in
  // at its arrival, in a time in which a chain is given at most `calls`.
  uint64_t RowsBefore(const Request& request, uint64_t calls) const;

  // Takes a request out that is still waiting, wholly or in part. Does nothing if there is none.
  void Remove(const Request& request);

  // From now on nothing is taken in.
  void Close();

  // Whether the process has no memory for more requests: then TryPush answers RESOURCE_EXHAUSTED.
  void SetMemoryFull(bool full);
  // Takes out the request that has brought most, for the caller to end; null where none waits.
  std::shared_ptr<const Request> TakeLargest();

  // Takes out all that still waits; for the caller to end.
  std::vector<std::shared_ptr<const Request>> TakeAll();

  // Called, under no lock, when there may be something to pull.
  void OnWork(int engine, std::function<void()> wake);

  // Calls visit(name, tenant) for each tenant that is known, under the queue's lock.
  void ForEachTenant(
      absl::FunctionRef<void(const std::string& name, const Tenant& tenant)> visit) const;

  size_t requests_waiting() const;
  uint64_t rows_waiting() const;

 private:
  struct Entry {
    std::shared_ptr<const Request> request;
    // Counted once, and not under the lock.
    uint64_t rows_per_chain = 0;
    size_t data_bytes = 0;
    size_t bytes_per_chain = 0;
    uint32_t next = 0;  // first chain not handed out yet
    Standing standing;
    Tenant* tenant = nullptr;  // which stays while this waits
    uint32_t left() const { return request->num_samples - next; }
  };
  struct Turn {
    Rank rank;
    std::list<Entry>::iterator entry;
  };
  static uint64_t RowsOf(const Entry& entry) { return entry.rows_per_chain * entry.left(); }
  static Standing StandingOf(const Request& request);
  // Calls visit(entry) for each that goes before one of that rank.
  template <typename Visit>
  void ForEachBefore(const Rank& rank, SteadyTime now, Visit visit) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckMemory(const Entry& entry) const;  // whether it could ever run
  absl::Status CheckRoom(const Entry& entry) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gathers the turns of those that wait; the chains that their tenants' limits let be active. What
  // has waited for as long as its call may take goes to `late`, with no chains.
  size_t GatherTurns(SteadyTime now, std::vector<ChainRange>* late)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Where a batch has room for it beside all that goes before, there is nothing to wait for.
  absl::Status CheckBacklog(const Request& request, const Rank& rank)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::list<Entry>::iterator Erase(std::list<Entry>::iterator it)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountServed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  std::vector<std::function<void()>> wakers_;  // set before there is traffic

  mutable Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool memory_full_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  size_t chains_waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t rows_waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Load> loads_ ABSL_GUARDED_BY(mutex_);  // as each engine said last
  uint64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  Backlog backlog_ ABSL_GUARDED_BY(mutex_);
  Tenants tenants_ ABSL_GUARDED_BY(mutex_);
  std::vector<Turn> turns_ ABSL_GUARDED_BY(mutex_);  // a heap, while chains are pulled
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_WAITING_QUEUE_H_
