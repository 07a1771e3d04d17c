#include "server/engine/waiting_queue.h"

#include <algorithm>
#include <iterator>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/diffusion/field_error.h"
#include "server/engine/shutting_down.h"

namespace denoise {

WaitingQueue::WaitingQueue(Options options)
    : options_(options),
      wakers_(options.engines),
      loads_(options.engines),
      tenants_(options.max_tenants) {}

Standing WaitingQueue::StandingOf(const Request& request) {
  Standing standing;
  standing.arrival = request.arrival;
  if (!request.deadline_is_limit) standing.deadline = request.deadline.value_or(SteadyTime::max());
  standing.priority = request.priority;
  return standing;
}

template <typename Visit>
void WaitingQueue::ForEachBefore(const Rank& rank, SteadyTime now, Visit visit) const {
  for (const Entry& entry : entries_) {
    if (options_.policy.RankOf(entry.standing, entry.rows_per_chain, now) < rank) visit(entry);
  }
}

void WaitingQueue::CountServed() {
  uint64_t least = UINT64_MAX;
  for (const Load& load : loads_) least = std::min(least, load.least_share);
  for (const Entry& entry : entries_) least = std::min(least, entry.standing.share);
  if (least != UINT64_MAX) tenants_.ServedUpTo(least);
}

absl::Status WaitingQueue::CheckMemory(const Entry& entry) const {
  if (options_.max_bytes == 0 || entry.bytes_per_chain <= options_.max_bytes) {
    return absl::OkStatus();
  }
  return FieldError("num_samples", absl::StrCat("a single chain needs ", entry.bytes_per_chain,
                                                " bytes, and ", options_.max_bytes,
                                                " are there for all that run: ask for smaller "
                                                "states, or run the server with more memory"));
}

absl::Status WaitingQueue::CheckRoom(const Entry& entry) const {
  if (closed_) return ShuttingDownError();
  if (memory_full_) {
    return absl::ResourceExhaustedError(
        "the server's memory is nearly full, and no request is taken in: retry later");
  }
  if (entries_.size() >= options_.max_waiting) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the queue is full: ", entries_.size(), " requests wait, and no more may: retry later"));
  }
  const Request& request = *entry.request;
  return tenants_.Check(request.tenant, request.limits, {RowsOf(entry), entry.data_bytes},
                        request.arrival);
}

absl::Status WaitingQueue::CheckBacklog(const Request& request, const Rank& rank) {
  if (options_.max_backlog.count() == 0 || request.model == nullptr) return absl::OkStatus();
  const Backlog::Ahead ahead =
      backlog_.Before(request.tenant, rank, options_.policy, request.arrival);
  const ModelInfo& model = *request.model;
  const int64_t batch = model.batch_sizes.empty() ? 1 : model.batch_sizes.back();
  const double most = std::chrono::duration<double>(options_.max_backlog).count();
  if (ahead.seconds <= most || ahead.chains < static_cast<uint64_t>(batch * model.replicas)) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "the queue is full: what goes before this request takes ",
      absl::FormatDuration(absl::Ceil(absl::Seconds(ahead.seconds), absl::Seconds(1))),
      " or more, and no more than ", absl::FormatDuration(absl::FromChrono(options_.max_backlog)),
      " may: retry later"));
}

absl::StatusOr<WaitingQueue::Place> WaitingQueue::TryPush(std::shared_ptr<const Request> request) {
  Place place;
  Entry entry;
  entry.rows_per_chain = request->rows_per_chain();
  entry.data_bytes = request->data_bytes();
  if (options_.max_bytes > 0) entry.bytes_per_chain = request->bytes_per_chain();
  entry.standing = StandingOf(*request);
  entry.request = std::move(request);
  if (absl::Status status = CheckMemory(entry); !status.ok()) return status;
  {
    MutexLock lock(mutex_);
    if (absl::Status status = CheckRoom(entry); !status.ok()) return status;
    CountServed();
    entry.standing.sequence = next_sequence_;
    entry.standing.share = tenants_.ShareOf(entry.request->tenant);
    const SteadyTime now = entry.request->arrival;
    const Rank rank = options_.policy.RankOf(entry.standing, entry.rows_per_chain, now);
    if (absl::Status status = CheckBacklog(*entry.request, rank); !status.ok()) return status;
    ++next_sequence_;
    entry.tenant = tenants_.Enter(entry.request->tenant, entry.request->limits,
                                  {RowsOf(entry), entry.data_bytes}, now);
    if (options_.max_backlog.count() > 0) {
      backlog_.Add(*entry.request, entry.standing, entry.rows_per_chain);
    }
    ForEachBefore(rank, now, [&place](const Entry& other) {
      ++place.requests_before;
      place.rows_before += RowsOf(other);
    });
    chains_waiting_ += entry.left();
    rows_waiting_ += RowsOf(entry);
    entries_.push_back(std::move(entry));
  }
  for (const auto& wake : wakers_) {
    if (wake) wake();
  }
  return place;
}

std::list<WaitingQueue::Entry>::iterator WaitingQueue::Erase(std::list<Entry>::iterator it) {
  chains_waiting_ -= it->left();
  rows_waiting_ -= RowsOf(*it);
  tenants_.Leave(it->tenant, it->data_bytes);
  return entries_.erase(it);
}

size_t WaitingQueue::GatherTurns(SteadyTime now, std::vector<ChainRange>* late) {
  turns_.clear();
  for (Entry& entry : entries_) entry.tenant->promised = 0;
  size_t chains = 0;
  for (auto it = entries_.begin(), next = it; it != entries_.end(); it = next) {
    next = std::next(it);
    if (it->request->deadline_is_limit && *it->request->deadline <= now) {
      late->emplace_back().request = it->request;
      Erase(it);
      continue;
    }
    const TenantLimits& limits = it->request->limits;
    if (it->tenant->RoomFor(limits) == 0) continue;
    turns_.push_back({options_.policy.RankOf(it->standing, it->rows_per_chain, now), it});
    const size_t some =
        std::min<size_t>(it->left(), it->tenant->RoomFor(limits, it->tenant->promised));
    it->tenant->promised += some;
    chains += some;
  }
  return chains;
}

std::vector<ChainRange> WaitingQueue::Pull(int engine, const Load& load, SteadyTime now) {
  std::vector<ChainRange> pulled;
  MutexLock lock(mutex_);
  loads_[engine] = load;
  if (entries_.empty() || load.room == 0) return pulled;
  size_t active = 0;
  uint64_t bytes = 0;
  for (const Load& other : loads_) {
    active += other.active;
    bytes += other.bytes;
  }
  const auto share_of = [&](size_t waiting) -> size_t {
    const size_t fair = (active + waiting + loads_.size() - 1) / loads_.size();
    return std::min(load.room, fair > load.active ? fair - load.active : 0);
  };
  if (share_of(chains_waiting_) == 0) return pulled;
  size_t left = share_of(GatherTurns(now, &pulled));
  uint64_t bytes_left = options_.max_bytes > bytes ? options_.max_bytes - bytes : 0;
  const auto later = [](const Turn& a, const Turn& b) { return b.rank < a.rank; };
  std::make_heap(turns_.begin(), turns_.end(), later);
  const auto pop = [&] {
    std::pop_heap(turns_.begin(), turns_.end(), later);
    turns_.pop_back();
  };
  while (left > 0 && !turns_.empty()) {
    const std::list<Entry>::iterator it = turns_.front().entry;
    Entry& entry = *it;
    const size_t of_tenant = entry.tenant->RoomFor(entry.request->limits);
    if (of_tenant == 0) {
      pop();
      continue;
    }
    size_t count = std::min({left, size_t{entry.left()}, of_tenant});
    if (entry.bytes_per_chain > 0) {
      count = std::min<size_t>(count, bytes_left / entry.bytes_per_chain);
    }
    if (count == 0) break;
    pulled.push_back({entry.request, entry.next, static_cast<uint32_t>(count), entry.rows_per_chain,
                      entry.bytes_per_chain, entry.standing, entry.tenant->Activate(count)});
    rows_waiting_ -= entry.rows_per_chain * count;
    chains_waiting_ -= count;
    entry.next += static_cast<uint32_t>(count);
    if (entry.request->evaluation == nullptr) entry.standing.share += entry.rows_per_chain * count;
    left -= count;
    bytes_left -= entry.bytes_per_chain * count;
    loads_[engine].active += count;
    loads_[engine].bytes += entry.bytes_per_chain * count;
    loads_[engine].least_share = std::min(loads_[engine].least_share, pulled.back().standing.share);
    if (entry.left() > 0) {
      if (count == of_tenant) continue;  // passed by others, at its next turn
      break;                             // there was no room for the rest
    }
    pop();
    Erase(it);
  }
  return pulled;
}

uint64_t WaitingQueue::RowsBefore(const Request& request, uint64_t calls) const {
  const uint64_t rows_per_chain = request.rows_per_chain();
  uint64_t rows = 0;
  absl::flat_hash_map<const Tenant*, uint64_t> bounded;
  MutexLock lock(mutex_);
  const Tenant* const own = tenants_.Find(request.tenant);
  Standing standing = StandingOf(request);
  standing.sequence = next_sequence_;
  standing.share = tenants_.ShareOf(request.tenant);
  ForEachBefore(options_.policy.RankOf(standing, rows_per_chain, request.arrival), request.arrival,
                [&](const Entry& other) {
                  if (other.request->model != request.model) return;
                  const uint64_t its = other.left() * std::min(other.rows_per_chain, calls);
                  const uint64_t max_active = other.request->limits.max_active;
                  if (max_active == 0 || other.tenant == own) {
                    rows += its;
                  } else {
                    // It passes what waits for its own tenant's active chains to end.
                    uint64_t& of_tenant = bounded[other.tenant];
                    of_tenant = std::min(of_tenant + its, max_active * calls);
                  }
                });
  for (const auto& [tenant, its] : bounded) rows += its;
  return rows;
}

void WaitingQueue::Remove(const Request& request) {
  MutexLock lock(mutex_);
  const auto it = std::find_if(entries_.begin(), entries_.end(),
                               [&](const Entry& entry) { return entry.request.get() == &request; });
  if (it != entries_.end()) Erase(it);
}

void WaitingQueue::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

void WaitingQueue::SetMemoryFull(bool full) {
  MutexLock lock(mutex_);
  memory_full_ = full;
}

std::shared_ptr<const Request> WaitingQueue::TakeLargest() {
  MutexLock lock(mutex_);
  const auto largest =
      std::max_element(entries_.begin(), entries_.end(),
                       [](const Entry& a, const Entry& b) { return a.data_bytes < b.data_bytes; });
  if (largest == entries_.end()) return nullptr;
  std::shared_ptr<const Request> request = largest->request;
  Erase(largest);
  return request;
}

std::vector<std::shared_ptr<const Request>> WaitingQueue::TakeAll() {
  std::vector<std::shared_ptr<const Request>> all;
  MutexLock lock(mutex_);
  for (auto it = entries_.begin(); it != entries_.end(); it = Erase(it)) {
    all.push_back(it->request);
  }
  return all;
}

void WaitingQueue::OnWork(int engine, std::function<void()> wake) {
  wakers_[engine] = std::move(wake);
}

void WaitingQueue::ForEachTenant(
    absl::FunctionRef<void(const std::string& name, const Tenant& tenant)> visit) const {
  MutexLock lock(mutex_);
  tenants_.ForEach(visit);
}

size_t WaitingQueue::requests_waiting() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

uint64_t WaitingQueue::rows_waiting() const {
  MutexLock lock(mutex_);
  return rows_waiting_;
}

}  // namespace denoise
