// The work that the server has taken in and not done yet.
#ifndef DENOISE_SERVER_ENGINE_BACKLOG_H_
#define DENOISE_SERVER_ENGINE_BACKLOG_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/engine/policy.h"

namespace denoise {

struct Request;

// Denoiser rows that a request still needs, all its chains together. Engines count it down.
class Work {
 public:
  void Set(uint64_t rows) { rows_left_.store(rows, std::memory_order_relaxed); }
  void Done(uint64_t rows) { rows_left_.fetch_sub(rows, std::memory_order_relaxed); }
  uint64_t rows_left() const { return rows_left_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> rows_left_{0};
};

// Of requests that wait and of those that run, until the last who holds a request has let it go.
// Not thread-safe, but for the work itself.
class Backlog {
 public:
  // Sets its work to all of its rows.
  void Add(const Request& request, const Standing& standing, uint64_t rows_per_chain);

  // What goes before a request of that tenant and rank now. Of another tenant with a limit of
  // active chains, only as many chains as may be active count.
  struct Ahead {
    double seconds = 0;   // of all replicas, at the speed measured when its model was loaded
    uint64_t chains = 0;  // that have not ended, about
  };
  Ahead Before(const std::string& tenant, const Rank& rank, const Policy& policy, SteadyTime now);

 private:
  struct Entry {
    std::shared_ptr<const Work> work;
    Standing standing;  // of its first chain
    uint64_t chains;
    uint64_t share_per_chain;  // by which a chain's share exceeds the one's before it
    uint64_t rows_per_chain;
    double seconds_per_row;
    std::string tenant;
    uint64_t max_active;  // chains of its tenant; 0: no bound
  };
  static uint64_t ChainsBefore(const Entry& entry, uint64_t chains_left, const Rank& rank,
                               const Policy& policy, SteadyTime now);

  std::vector<Entry> entries_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_BACKLOG_H_
