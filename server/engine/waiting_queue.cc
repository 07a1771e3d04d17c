#include "server/engine/waiting_queue.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "server/engine/shutting_down.h"

namespace denoise {

WaitingQueue::WaitingQueue(Options options)
    : options_(options), wakers_(options.engines), active_(options.engines, 0) {}

uint64_t WaitingQueue::RowsOf(const Entry& entry) {
  return entry.rows_per_chain * (entry.request->num_samples - entry.next);
}

absl::StatusOr<WaitingQueue::Place> WaitingQueue::TryPush(std::shared_ptr<const Request> request) {
  Place place;
  const uint64_t rows_per_chain = request->rows_per_chain();
  {
    MutexLock lock(mutex_);
    if (closed_) {
      return ShuttingDownError();
    }
    if (entries_.size() >= options_.max_waiting) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the queue is full: ", entries_.size(),
                       " requests wait, and no more may: come back later"));
    }
    place = {static_cast<uint32_t>(entries_.size()), rows_waiting_};
    entries_.push_back({std::move(request), rows_per_chain, 0});
    chains_waiting_ += entries_.back().request->num_samples;
    rows_waiting_ += RowsOf(entries_.back());
  }
  for (const auto& wake : wakers_) {
    if (wake) wake();
  }
  return place;
}

std::vector<ChainRange> WaitingQueue::Pull(int engine, size_t active, size_t room) {
  std::vector<ChainRange> pulled;
  MutexLock lock(mutex_);
  active_[engine] = active;
  if (entries_.empty()) return pulled;
  const size_t total = std::accumulate(active_.begin(), active_.end(), chains_waiting_);
  const size_t fair = (total + active_.size() - 1) / active_.size();
  size_t left = std::min(room, fair > active ? fair - active : 0);
  while (left > 0 && !entries_.empty()) {
    Entry& entry = entries_.front();
    const uint32_t count = std::min<size_t>(left, entry.request->num_samples - entry.next);
    rows_waiting_ -= RowsOf(entry);
    pulled.push_back({entry.request, entry.next, count, entry.rows_per_chain});
    entry.next += count;
    rows_waiting_ += RowsOf(entry);
    left -= count;
    chains_waiting_ -= count;
    active_[engine] += count;
    if (entry.next == entry.request->num_samples) entries_.pop_front();
  }
  return pulled;
}

void WaitingQueue::Remove(const Request& request) {
  MutexLock lock(mutex_);
  const auto it = std::find_if(entries_.begin(), entries_.end(),
                               [&](const Entry& entry) { return entry.request.get() == &request; });
  if (it == entries_.end()) return;
  chains_waiting_ -= request.num_samples - it->next;
  rows_waiting_ -= RowsOf(*it);
  entries_.erase(it);
}

void WaitingQueue::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

std::vector<std::shared_ptr<const Request>> WaitingQueue::TakeAll() {
  std::vector<std::shared_ptr<const Request>> all;
  MutexLock lock(mutex_);
  for (Entry& entry : entries_) all.push_back(std::move(entry.request));
  entries_.clear();
  chains_waiting_ = 0;
  rows_waiting_ = 0;
  return all;
}

void WaitingQueue::OnWork(int engine, std::function<void()> wake) {
  wakers_[engine] = std::move(wake);
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
