// Threads that encode events and start writes, so that neither engines nor gRPC's threads do.
#ifndef DENOISE_SERVER_RPC_WRITER_POOL_H_
#define DENOISE_SERVER_RPC_WRITER_POOL_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "server/engine/mutex.h"

namespace denoise {

// A call that has events to write.
class Writer {
 public:
  virtual ~Writer() = default;
  // Takes the next event and starts its write. On a thread of the pool.
  virtual void WriteNext() = 0;
  // A write has been in flight for longer than the pool allows. On a thread of the pool.
  virtual void OnWriteStalled() = 0;
};

// Thread-safe. Outlives the gRPC server: calls end on its threads.
class WriterPool {
 public:
  struct Options {
    int threads = 2;
    // A write that takes longer has a peer that does not read.
    std::chrono::nanoseconds write_timeout = std::chrono::seconds(60);
  };

  explicit WriterPool(Options options);
  // Joins the threads; writers that are still ready are let go of.
  ~WriterPool();

  // WriteNext() will be called once, in the order of these calls. A writer that does not Schedule
  // itself again before WriteNext() has begun is run by one thread at a time. Never blocks.
  void Schedule(std::shared_ptr<Writer> writer);

  // Brackets a write in flight. OnWriteStalled() is called at most once between the two, and a
  // moment after WriteEnded() at the latest.
  using WriteId = uint64_t;
  WriteId WriteBegun(std::shared_ptr<Writer> writer);
  void WriteEnded(WriteId write);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct InFlight {
    std::shared_ptr<Writer> writer;
    Time begin;
  };

  void Loop();
  std::shared_ptr<Writer> TakeStalled(Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  Mutex mutex_;
  CondVar condition_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::shared_ptr<Writer>> ready_ ABSL_GUARDED_BY(mutex_);
  WriteId last_write_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<WriteId, InFlight> in_flight_ ABSL_GUARDED_BY(mutex_);  // the oldest first

  std::vector<std::thread> threads_;  // last
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_WRITER_POOL_H_
