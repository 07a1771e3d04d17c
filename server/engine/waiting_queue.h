// The one place where requests wait, for all engines of a server.
#ifndef DENOISE_SERVER_ENGINE_WAITING_QUEUE_H_
#define DENOISE_SERVER_ENGINE_WAITING_QUEUE_H_

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/mutex.h"
#include "server/engine/request.h"

namespace denoise {

// Chains of a request, handed to one engine.
struct ChainRange {
  std::shared_ptr<const Request> request;
  uint32_t first = 0;
  uint32_t count = 0;
  uint64_t rows_per_chain = 0;  // of the request
};

// Thread-safe. Requests leave in the order in which they came.
class WaitingQueue {
 public:
  struct Options {
    size_t max_waiting = 256;  // requests
    int engines = 1;
  };
  explicit WaitingQueue(Options options);

  // Where a request stands that was just taken in.
  struct Place {
    uint32_t requests_before = 0;
    uint64_t rows_before = 0;  // denoiser rows of the requests before it
  };

  // Never blocks. Takes the request only when it answers OK. RESOURCE_EXHAUSTED when full,
  // UNAVAILABLE after Close().
  absl::StatusOr<Place> TryPush(std::shared_ptr<const Request> request);

  // For engine `engine`, which runs `active` chains and has room for `room` more: its fair share of
  // the chains from the head, so that engines end up with equally many. Empty when there is nothing
  // for it now.
  std::vector<ChainRange> Pull(int engine, size_t active, size_t room);

  // Takes a request out that is still waiting, wholly or in part. Does nothing if there is none.
  void Remove(const Request& request);

  // From now on nothing is taken in.
  void Close();

  // Takes out all that still waits; for the caller to end.
  std::vector<std::shared_ptr<const Request>> TakeAll();

  // Called, under no lock, when there may be something to pull.
  void OnWork(int engine, std::function<void()> wake);

  size_t requests_waiting() const;
  uint64_t rows_waiting() const;

 private:
  struct Entry {
    std::shared_ptr<const Request> request;
    uint64_t rows_per_chain = 0;  // counted once, and not under the lock
    uint32_t next = 0;            // first chain not handed out yet
  };
  static uint64_t RowsOf(const Entry& entry);

  const Options options_;
  std::vector<std::function<void()>> wakers_;  // set before there is traffic

  mutable Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  size_t chains_waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t rows_waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<size_t> active_ ABSL_GUARDED_BY(mutex_);  // as each engine said last
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_WAITING_QUEUE_H_
