#include "server/model/runtime/allocator.h"

#include <new>
#include <string>

#include "c10/core/Allocator.h"
#include "c10/core/CPUAllocator.h"
#include "server/model/runtime/memory.h"

#ifdef DENOISE_JEMALLOC
#include <jemalloc/jemalloc.h>

// Read by jemalloc before main. Free pages stay with the process, because the next call wants as
// many again; and large ones in the arena of the thread that freed them, not in one for all.
const char* malloc_conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0";
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

}  // namespace

void BoundTensors() {
  static BoundedAllocator bounded(c10::GetDefaultCPUAllocator());
  c10::SetCPUAllocator(&bounded);
}

void CheckFits(uint64_t bytes) {
  static const uint64_t usable = UsableMemory();
  if (bytes > usable) throw std::bad_alloc();
}

void ReleaseFreeMemory() {
#ifdef DENOISE_JEMALLOC  // a sanitizer has an allocator of its own
  static const std::string purge = "arena." + std::to_string(MALLCTL_ARENAS_ALL) + ".purge";
  mallctl(purge.c_str(), nullptr, nullptr, nullptr, 0);
#endif
}

}  // namespace denoise
