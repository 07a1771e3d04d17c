#include "server/engine/event_stream.h"

#include <algorithm>

namespace denoise {

EventStream::EventStream(Options options, const Clock* clock)
    : options_(options), clock_(clock), samples_left_(options.num_samples) {}

void EventStream::OnReady(std::function<void()> on_ready) { on_ready_ = std::move(on_ready); }
void EventStream::OnCancel(std::function<void()> wake) { on_cancel_ = std::move(wake); }
void EventStream::OnRoom(std::function<void()> wake) { on_room_ = std::move(wake); }

size_t EventStream::BytesOf(const Pending& event) {
  if (const auto* state = std::get_if<StateEvent>(&event)) {
    return sizeof(StateEvent) + state->values.size() * sizeof(float);
  }
  const auto& term = std::get<TermEvent>(event);
  return sizeof(TermEvent) +
         (term.bits_per_dim.size() + term.eps_mse.size() + term.x_0_mse.size()) * sizeof(double);
}

std::optional<StreamEvent> EventStream::Take() {
  std::optional<StreamEvent> event;
  bool has_room_again = false;
  {
    MutexLock lock(mutex_);
    if (!pending_.empty()) {
      Pending& first = pending_.front();
      pending_bytes_ -= BytesOf(first);
      if (auto* state = std::get_if<StateEvent>(&first)) {
        --pending_of_[Key{state->sample_index, state->content}];
        if (!first_state_.has_value()) first_state_ = clock_->Now();
        event = std::move(*state);
      } else {
        event = std::get<TermEvent>(std::move(first));
      }
      pending_.pop_front();
      // Room at half full, so that engines are not woken for every state.
      if (full_.load(std::memory_order_relaxed) &&
          pending_bytes_ <= options_.max_pending_bytes / 2) {
        full_.store(false, std::memory_order_release);
        has_room_again = true;
      }
    } else if (terminal_.has_value() && !terminal_taken_) {
      terminal_taken_ = true;
      event = std::move(*terminal_);
      if (auto* result = std::get_if<ResultEvent>(&*event)) {
        result->samples = std::move(samples_);
        result->states_dropped = states_dropped_;
        result->denoiser_rows = denoiser_rows_.load(std::memory_order_relaxed);
        const SteadyTime active = active_since_.value_or(finished_);
        result->queue_seconds = SecondsBetween(options_.arrival, active);
        result->sampling_seconds = SecondsBetween(active, finished_);
        if (first_state_.has_value()) {
          result->first_state_seconds = SecondsBetween(options_.arrival, *first_state_);
        }
        result->total_seconds = SecondsBetween(options_.arrival, clock_->Now());
      }
    } else {
      reader_waiting_ = true;
    }
  }
  if (has_room_again && on_room_) on_room_();
  return event;
}

void EventStream::Cancel(absl::Status status) { End(std::move(status)); }

bool EventStream::Fail(absl::Status status) { return End(std::move(status)); }

bool EventStream::End(absl::Status status) {
  bool notify;
  {
    MutexLock lock(mutex_);
    if (terminal_.has_value()) return false;
    terminal_ = std::move(status);
    ended_.store(true, std::memory_order_release);
    pending_.clear();
    pending_of_.clear();
    pending_bytes_ = 0;
    std::vector<float>().swap(samples_);
    notify = TakeReaderWaiting();
  }
  if (notify && on_ready_) on_ready_();
  if (on_cancel_) on_cancel_();
  return true;
}

bool EventStream::Activate() {
  MutexLock lock(mutex_);
  if (active_since_.has_value()) return false;
  active_since_ = clock_->Now();
  return true;
}

void EventStream::Publish(StateEvent state) {
  bool notify;
  {
    MutexLock lock(mutex_);
    if (terminal_.has_value()) return;
    ++pending_of_[Key{state.sample_index, state.content}];
    Append(std::move(state));
    notify = TakeReaderWaiting();
  }
  if (notify && on_ready_) on_ready_();
}

void EventStream::Publish(TermEvent term) {
  bool notify;
  {
    MutexLock lock(mutex_);
    if (terminal_.has_value()) return;
    Append(std::move(term));
    notify = TakeReaderWaiting();
  }
  if (notify && on_ready_) on_ready_();
}

bool EventStream::Decline(uint32_t sample, Content content, size_t bytes) {
  if (options_.lossless) return false;
  MutexLock lock(mutex_);
  const auto pending = pending_of_.find(Key{sample, content});
  if (pending == pending_of_.end() || pending->second == 0) return false;
  if (pending_bytes_ + sizeof(StateEvent) + bytes <= options_.max_pending_bytes) return false;
  ++states_dropped_;
  return true;
}

void EventStream::Append(Pending event) {
  pending_bytes_ += BytesOf(event);
  pending_.push_back(std::move(event));
  if (pending_bytes_ <= options_.max_pending_bytes) return;
  if (options_.lossless) {
    full_.store(true, std::memory_order_release);
  } else {
    DropOldest();
  }
}

void EventStream::DropOldest() {
  auto it = pending_.begin();
  while (it != pending_.end() && pending_bytes_ > options_.max_pending_bytes) {
    const auto* state = std::get_if<StateEvent>(&*it);
    uint32_t* of_its_kind =
        state == nullptr ? nullptr : &pending_of_[Key{state->sample_index, state->content}];
    if (of_its_kind == nullptr || *of_its_kind == 1) {  // terms, and the newest of a kind, stay
      ++it;
      continue;
    }
    --*of_its_kind;
    pending_bytes_ -= BytesOf(*it);
    ++states_dropped_;
    it = pending_.erase(it);
  }
}

bool EventStream::Finish(uint32_t index, absl::Span<const float> x) {
  bool notify;
  {
    MutexLock lock(mutex_);
    if (terminal_.has_value()) return false;
    if (options_.keep_samples) {
      samples_.resize(options_.num_samples * options_.values_per_sample);  // by the first to finish
      std::copy(x.begin(), x.end(), samples_.begin() + index * options_.values_per_sample);
    }
    if (--samples_left_ > 0) return false;
    finished_ = clock_->Now();
    terminal_ = ResultEvent{};
    ended_.store(true, std::memory_order_release);
    notify = TakeReaderWaiting();
  }
  if (notify && on_ready_) on_ready_();
  return true;
}

std::optional<double> EventStream::queue_seconds() const {
  MutexLock lock(mutex_);
  if (!active_since_.has_value()) return std::nullopt;
  return SecondsBetween(options_.arrival, *active_since_);
}

uint32_t EventStream::states_dropped() const {
  MutexLock lock(mutex_);
  return states_dropped_;
}

}  // namespace denoise
