// The events of a call, as an input range.
#ifndef DENOISE_STREAM_H_
#define DENOISE_STREAM_H_

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/types.h"

namespace denoise {
inline namespace client_v1 {

// Where a Stream has its events from. For implementers of Connection, such as tests.
template <typename E>
class EventSource {
 public:
  virtual ~EventSource() = default;

  // The next event, waiting for it; an error: the call has failed; nullopt: it has ended well. Not
  // called again after those two.
  virtual std::optional<absl::StatusOr<E>> Next() = 0;

  // Ends the call early: Next() then gives CANCELLED before long. From any thread, at any time,
  // also while Next() waits; more than once.
  virtual void Cancel() = 0;
};

// The events of one call, in order, each a StatusOr<E>. An error is the last element; a stream that
// ends without one has ended well, and then its last event was the Result (Sample), the last State
// (Diffuse) or the Likelihood (Evaluate).
//
//     for (auto& event : client->Sample(request)) {
//       if (!event.ok()) return event.status();
//       if (auto* state = std::get_if<denoise::State>(&*event)) …
//     }
//
// Move-only. Reading (begin(), ++) waits for the server, and is for one thread at a time; Cancel()
// is for any. A stream that is destroyed before its end is cancelled, on the server too.
template <typename E>
class [[nodiscard]] Stream {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = absl::StatusOr<E>;
    using difference_type = std::ptrdiff_t;
    using pointer = value_type*;
    using reference = value_type&;

    // Valid until the next ++; may be moved from.
    reference operator*() const { return *stream_->current_; }
    pointer operator->() const { return &*stream_->current_; }
    Iterator& operator++() {
      stream_->Advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !stream_->current_.has_value(); }

   private:
    friend Stream;
    explicit Iterator(Stream* stream) : stream_(stream) {}
    Stream* stream_;
  };

  explicit Stream(std::unique_ptr<EventSource<E>> source) : source_(std::move(source)) {}
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&& other) noexcept {
    if (this != &other) {
      Abandon();
      source_ = std::move(other.source_);
      current_ = std::move(other.current_);
      started_ = other.started_;
      done_ = other.done_;
    }
    return *this;
  }
  ~Stream() { Abandon(); }

  // The element that is current; the first one, to begin with.
  Iterator begin() {
    if (!started_) Advance();
    return Iterator(this);
  }
  std::default_sentinel_t end() const { return {}; }

  // The stream's next element is then CANCELLED, unless it has ended. Not beside a move or the
  // destruction.
  void Cancel() {
    if (source_ != nullptr) source_->Cancel();
  }

 private:
  void Advance() {
    started_ = true;
    if (done_ || source_ == nullptr) {
      current_.reset();
      return;
    }
    current_ = source_->Next();
    done_ = !current_.has_value() || !current_->ok();
  }
  void Abandon() {
    if (source_ != nullptr && !done_) source_->Cancel();
    source_.reset();
  }

  std::unique_ptr<EventSource<E>> source_;
  std::optional<absl::StatusOr<E>> current_;
  bool started_ = false;
  bool done_ = false;  // `source_` has given its last
};

using SampleStream = Stream<Event>;
using DiffuseStream = Stream<DiffuseEvent>;
using EvaluateStream = Stream<EvaluateEvent>;

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_STREAM_H_
