#include "server/engine/policy.h"

#include <limits>

namespace denoise {

Rank Policy::RankOf(const Standing& standing, uint64_t rows_left, SteadyTime now) const {
  const std::chrono::nanoseconds age = now - standing.arrival;
  if (age >= options_.max_wait) {
    return {std::numeric_limits<int>::min(), SteadyTime::min(), 0, standing.sequence};
  }
  Rank rank{-standing.priority, SteadyTime::max(), 0, standing.sequence};
  if (standing.deadline - standing.arrival < options_.max_wait) rank.deadline = standing.deadline;
  switch (options_.order) {
    case Order::kFcfs:
      break;
    case Order::kSrpf: {
      // All of its rows when it comes, none at max_wait.
      const double old = static_cast<double>(age.count()) / options_.max_wait.count();
      rank.score = static_cast<double>(rows_left) * (1 - old);
      break;
    }
    case Order::kFair:
      rank.score = static_cast<double>(standing.share);
      break;
  }
  return rank;
}

}  // namespace denoise
