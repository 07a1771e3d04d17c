#include "server/model/runtime/allocator.h"

#include <sys/types.h>

#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "c10/core/Allocator.h"
#include "c10/core/CPUAllocator.h"
#include "server/model/runtime/memory.h"

#ifdef DENOISE_JEMALLOC
#include <jemalloc/jemalloc.h>

// Read by jemalloc before main. Free pages go back at once, but those of KeepFreePages(); and large
// ones belong to the arena of their thread, not to one for all.
const char* malloc_conf = "dirty_decay_ms:0,muzzy_decay_ms:0,oversize_threshold:0";
#endif

namespace denoise {
namespace {

// LibTorch's own, behind the check.
class BoundedAllocator : public c10::Allocator {
 public:
  explicit BoundedAllocator(c10::Allocator* inner) : inner_(inner) {}
  c10::DataPtr allocate(size_t bytes) override {
    CheckFits(bytes);
    return inner_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return inner_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    inner_->copy_data(to, from, bytes);
  }

 private:
  c10::Allocator* const inner_;
};

#ifdef DENOISE_JEMALLOC

// An arena that keeps its free pages, of one thread at a time: threads that tune come and go, and
// jemalloc's arenas do not.
class KeptArena {
 public:
  KeptArena() {
    Pool& pool = ThePool();
    const std::lock_guard<std::mutex> lock(pool.mutex);
    if (pool.unused.empty()) {
      index_ = Create();
    } else {
      index_ = pool.unused.back();
      pool.unused.pop_back();
    }
    mallctl("thread.arena", nullptr, nullptr, &index_, sizeof(index_));
  }
  ~KeptArena() {
    Pool& pool = ThePool();
    const std::lock_guard<std::mutex> lock(pool.mutex);
    pool.unused.push_back(index_);
  }

 private:
  struct Pool {
    std::mutex mutex;
    std::vector<unsigned> unused;
  };
  static Pool& ThePool() {
    static Pool& pool = *new Pool;
    return pool;
  }
  static unsigned Create() {
    unsigned index = 0;
    size_t size = sizeof(index);
    mallctl("arenas.create", &index, &size, nullptr, 0);
    ssize_t never = -1;
    for (const char* decay : {".dirty_decay_ms", ".muzzy_decay_ms"}) {
      const std::string name = "arena." + std::to_string(index) + decay;
      mallctl(name.c_str(), nullptr, nullptr, &never, sizeof(never));
    }
    return index;
  }

  unsigned index_ = 0;
};

#endif

}  // namespace

void BoundTensors() {
  static BoundedAllocator bounded(c10::GetDefaultCPUAllocator());
  c10::SetCPUAllocator(&bounded);
}

void CheckFits(uint64_t bytes) {
  static const uint64_t usable = UsableMemory();
  if (bytes > usable) throw std::bad_alloc();
}

void KeepFreePages() {
#ifdef DENOISE_JEMALLOC
  thread_local const KeptArena arena;
  (void)arena;
#endif
}

void ReleaseFreeMemory() {
#ifdef DENOISE_JEMALLOC  // a sanitizer has an allocator of its own
  static const std::string purge = "arena." + std::to_string(MALLCTL_ARENAS_ALL) + ".purge";
  mallctl(purge.c_str(), nullptr, nullptr, nullptr, 0);
#endif
}

}  // namespace denoise
