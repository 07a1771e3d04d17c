// The scheduling order: of waiting requests, and of active chains where a batch cannot hold all.
#ifndef DENOISE_SERVER_ENGINE_POLICY_H_
#define DENOISE_SERVER_ENGINE_POLICY_H_

#include <chrono>
#include <cstdint>

#include "server/engine/clock.h"

namespace denoise {

// Priorities are -kMaxPriority..kMaxPriority.
inline constexpr int kMaxPriority = 100;

// What decides where priorities and deadlines are equal.
enum class Order {
  kFcfs,  // who came first
  kSrpf,  // who has the fewest denoiser rows left, discounted with age
  kFair,  // whose tenant has had the fewest rows
};

// What the place of a request or a chain depends on; set when it is queued.
struct Standing {
  uint64_t sequence = 0;  // in the order of arrival; no two are equal
  SteadyTime arrival;
  SteadyTime deadline = SteadyTime::max();  // max: none
  int priority = 0;
  // Rows that its tenant asked for before it, in this request too (TenantShares). One for all
  // chains of an Evaluate, which go forward side by side.
  uint64_t share = 0;
};

// Of two, the smaller goes first.
struct Rank {
  int priority = 0;  // negated
  SteadyTime deadline;
  double score = 0;
  uint64_t sequence = 0;

  friend bool operator<(const Rank& a, const Rank& b) {
    if (a.priority != b.priority) return a.priority < b.priority;
    if (a.deadline != b.deadline) return a.deadline < b.deadline;
    if (a.score != b.score) return a.score < b.score;
    return a.sequence < b.sequence;
  }
};

// Pure: no clock, no threads. By priority, then the earliest deadline, then the order. Whatever
// is older than `max_wait` goes before all that is not, and the oldest of it first. So nothing
// starves: what comes later than max_wait after a request never goes before it for long. A
// deadline later than that counts as none: many clients give one of a minute to whatever they do,
// and the order would never be asked.
class Policy {
 public:
  struct Options {
    Order order = Order::kFcfs;
    std::chrono::nanoseconds max_wait = std::chrono::seconds(30);  // 0: strictly first come
  };

  Policy() : Policy(Options()) {}
  explicit Policy(Options options) : options_(options) {}

  // `rows_left`: denoiser rows that a chain of it still needs.
  Rank RankOf(const Standing& standing, uint64_t rows_left, SteadyTime now) const;

 private:
  Options options_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_POLICY_H_
