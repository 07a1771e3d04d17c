// What the process really holds, beside what its accounts say.
#ifndef DENOISE_SERVER_MEMORY_WATCH_H_
#define DENOISE_SERVER_MEMORY_WATCH_H_

#include <cstdint>
#include <functional>
#include <thread>
#include <utility>

#include "server/engine/mutex.h"

namespace denoise {

// Ten times a second it looks how much memory the process holds. From 85 % of what it may use on,
// free pages are given back, and where that does not help new requests are refused until it is
// 80 % again; from 95 % on the largest request that waits is ended at each look. (The thresholds of
// Envoy's overload manager.) For what no account has: LibTorch's own memory, fragments, leaks.
class MemoryWatch {
 public:
  struct Options {
    uint64_t limit = 0;                  // bytes that the process may use
    std::function<uint64_t()> held;      // bytes that it holds
    std::function<void()> release_free;  // of the allocator
    std::function<void(bool full)> refuse;
    std::function<void()> shed;
  };

  // Starts the thread that looks.
  explicit MemoryWatch(Options options);
  ~MemoryWatch();

  // A look, from the thread that looks or, where there is none, from a test.
  void Look();

  // For tests: without a thread.
  struct WithoutThread {};
  MemoryWatch(Options options, WithoutThread) : options_(std::move(options)) {}

 private:
  void Loop();
  double share() const { return static_cast<double>(options_.held()) / options_.limit; }

  const Options options_;
  bool full_ = false;

  Mutex mutex_;
  CondVar condition_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last
};

// Memory that the process holds and that cannot be read again from files, from /proc/self/status;
// 0 where that is not there.
uint64_t HeldMemory();

}  // namespace denoise

#endif  // DENOISE_SERVER_MEMORY_WATCH_H_
