#include "server/model/allocator.h"

#ifdef DENOISE_JEMALLOC

#include <jemalloc/jemalloc.h>

#include <string>

// Read by jemalloc before main. Free pages stay with the process, because the next call wants as
// many again; and large ones in the arena of the thread that freed them, not in one for all.
const char* malloc_conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0";

namespace denoise {

void ReleaseFreeMemory() {
  static const std::string purge = "arena." + std::to_string(MALLCTL_ARENAS_ALL) + ".purge";
  mallctl(purge.c_str(), nullptr, nullptr, nullptr, 0);
}

}  // namespace denoise

#else  // a sanitizer has an allocator of its own

namespace denoise {

void ReleaseFreeMemory() {}

}  // namespace denoise

#endif
