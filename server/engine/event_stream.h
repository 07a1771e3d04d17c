// What a request's engines have to say to its caller: states or terms while its chains run, and one
// terminal event.
#ifndef DENOISE_SERVER_ENGINE_EVENT_STREAM_H_
#define DENOISE_SERVER_ENGINE_EVENT_STREAM_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/engine/clock.h"
#include "server/engine/evaluation.h"
#include "server/engine/mutex.h"

namespace denoise {

// kProgress: a State without data.
enum class Content : uint8_t { kProgress, kXt, kPredictedX0 };

struct StateEvent {
  uint32_t sample_index = 0;
  uint32_t step = 0;  // 0..total_steps
  double timestep = 0;
  double alpha_bar = 0;
  double sigma = 0;
  Content content = Content::kProgress;
  std::vector<float> values;  // [C·H·W]; empty for kProgress
};

struct ResultEvent {
  std::vector<float> samples;  // [n·C·H·W]; empty for the forward process and for an Evaluate
  double queue_seconds = 0;
  double sampling_seconds = 0;
  std::optional<double> first_state_seconds;
  double total_seconds = 0;
  uint32_t states_dropped = 0;
  uint64_t denoiser_rows = 0;
};

// Not OK: how the request ended instead of in a Result.
using StreamEvent = std::variant<StateEvent, TermEvent, ResultEvent, absl::Status>;

// Thread-safe: engines publish, one reader takes, anybody cancels. A reader that is slow loses
// states, oldest first, but never the newest of a (sample, content), so the last one always
// arrives; nor a term, nor the terminal event. With `lossless` nothing is lost and engines are to
// ask HasRoom() before they go on.
class EventStream {
 public:
  struct Options {
    uint32_t num_samples = 1;
    size_t values_per_sample = 0;  // C·H·W
    bool keep_samples = true;      // collect the final x of each sample for the Result
    bool lossless = false;
    size_t max_pending_bytes =
        1 << 18;  // of states and terms; one of each (sample, content) is kept beyond it
    SteadyTime arrival;
  };

  EventStream(Options options, const Clock* clock);

  // --- Reader.

  // `on_ready` is called, from any thread and under no lock of this class, when there is something
  // to Take after Take gave nothing (or before the first Take). Set once, before the stream is
  // shared. It must not block.
  void OnReady(std::function<void()> on_ready);
  // The next event, in order; the terminal one (ResultEvent or Status) is the last. nullopt:
  // nothing now.
  std::optional<StreamEvent> Take();

  // Ends the request from outside: its chains are freed within one tick, and the terminal event is
  // `status`, unless there was one already. Also wakes the engines through the function given to
  // OnCancel.
  void Cancel(absl::Status status);
  void OnCancel(std::function<void()> wake);
  // `wake` is called when a lossless stream has room again.
  void OnRoom(std::function<void()> wake);

  // --- Engines.

  // Read at every plan: the request has ended, free its chains.
  bool ended() const { return ended_.load(std::memory_order_acquire); }
  bool HasRoom() const { return !full_.load(std::memory_order_acquire); }
  // The first chain became active; later calls do nothing. True for the first.
  bool Activate();
  void Publish(StateEvent state);
  void Publish(TermEvent term);
  // Whether a state of so many bytes would be kept only in place of an older one of its (sample,
  // content), which its reader has not come to. Then it counts as dropped and is not to be
  // published: what is expensive to make is made as fast as it is read. Never with `lossless`.
  bool Decline(uint32_t sample, Content content, size_t bytes);
  void AddRows(uint64_t denoiser_rows) {
    denoiser_rows_.fetch_add(denoiser_rows, std::memory_order_relaxed);
  }
  // Sample `index` has come to its end with this x (ignored without keep_samples). The last of them
  // makes the Result; true then.
  bool Finish(uint32_t index, absl::Span<const float> x);
  // The request has failed; the first terminal event wins. True if this was it.
  bool Fail(absl::Status status);

  uint64_t denoiser_rows() const { return denoiser_rows_.load(std::memory_order_relaxed); }
  // Queue time, once active.
  std::optional<double> queue_seconds() const;
  uint32_t states_dropped() const;

 private:
  struct Key {
    uint32_t sample;
    Content content;
    bool operator==(const Key&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& key) {
      return H::combine(std::move(h), key.sample, key.content);
    }
  };
  using Pending = std::variant<StateEvent, TermEvent>;
  static size_t BytesOf(const Pending& event);

  void Append(Pending event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the right to call on_ready_, if the reader is waiting.
  bool TakeReaderWaiting() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::exchange(reader_waiting_, false);
  }
  bool End(absl::Status status);

  const Options options_;
  const Clock* const clock_;
  std::function<void()> on_ready_;  // set before sharing
  std::function<void()> on_cancel_;
  std::function<void()> on_room_;

  std::atomic<bool> ended_{false};
  std::atomic<bool> full_{false};
  std::atomic<uint64_t> denoiser_rows_{0};

  mutable Mutex mutex_;
  bool reader_waiting_ ABSL_GUARDED_BY(mutex_) = true;
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<Key, uint32_t> pending_of_ ABSL_GUARDED_BY(mutex_);
  size_t pending_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t states_dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t samples_left_ ABSL_GUARDED_BY(mutex_);
  std::vector<float> samples_ ABSL_GUARDED_BY(mutex_);
  std::optional<StreamEvent> terminal_ ABSL_GUARDED_BY(mutex_);
  bool terminal_taken_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<SteadyTime> active_since_ ABSL_GUARDED_BY(mutex_);
  std::optional<SteadyTime> first_state_ ABSL_GUARDED_BY(mutex_);
  SteadyTime finished_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_EVENT_STREAM_H_
