#include "server/engine/backlog.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/engine/request.h"
#include "server/engine/wait_estimate.h"

namespace denoise {

void Backlog::Add(const Request& request, const Standing& standing, uint64_t rows_per_chain) {
  request.work->Set(rows_per_chain * request.num_samples);
  const double seconds_per_row =
      request.model == nullptr ? 0 : absl::ToDoubleSeconds(TimeFor(*request.model, 1));
  entries_.push_back({request.work, standing, request.num_samples,
                      request.evaluation == nullptr ? rows_per_chain : 0, rows_per_chain,
                      seconds_per_row, request.tenant, request.limits.max_active});
}

// Of the last `chains_left` of a request, taken for those that are left. The more of its tenant's
// go before a chain the later it is, so they can be searched.
uint64_t Backlog::ChainsBefore(const Entry& entry, uint64_t chains_left, const Rank& rank,
                               const Policy& policy, SteadyTime now) {
  const uint64_t done = entry.chains - chains_left;
  uint64_t before = 0, after = chains_left;  // so many surely do, and the one there does not
  while (before < after) {
    const uint64_t middle = before + (after - before) / 2;
    Standing standing = entry.standing;
    standing.share += entry.share_per_chain * (done + middle);
    if (policy.RankOf(standing, entry.rows_per_chain, now) < rank) {
      before = middle + 1;
    } else {
      after = middle;
    }
  }
  return before;
}

Backlog::Ahead Backlog::Before(const std::string& tenant, const Rank& rank, const Policy& policy,
                               SteadyTime now) {
  std::erase_if(entries_, [](const Entry& entry) { return entry.work.use_count() == 1; });
  struct Bounded : Ahead {
    uint64_t max_active = 0;
  };
  absl::flat_hash_map<absl::string_view, Bounded> bounded;
  Ahead ahead;
  for (const Entry& entry : entries_) {
    const uint64_t rows = entry.work->rows_left();
    if (rows == 0) continue;
    const uint64_t chains_left =
        std::min(entry.chains, (rows + entry.rows_per_chain - 1) / entry.rows_per_chain);
    const uint64_t chains = ChainsBefore(entry, chains_left, rank, policy, now);
    Ahead* to = &ahead;
    if (entry.max_active > 0 && entry.tenant != tenant) {
      Bounded& other = bounded[entry.tenant];
      other.max_active = std::max(other.max_active, entry.max_active);
      to = &other;
    }
    to->chains += chains;
    to->seconds +=
        static_cast<double>(std::min(rows, chains * entry.rows_per_chain)) * entry.seconds_per_row;
  }
  for (const auto& [name, other] : bounded) {
    if (other.chains == 0) continue;
    const uint64_t active = std::min(other.chains, other.max_active);
    ahead.chains += active;
    ahead.seconds +=
        other.seconds * static_cast<double>(active) / static_cast<double>(other.chains);
  }
  return ahead;
}

}  // namespace denoise
