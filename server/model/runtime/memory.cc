#include "server/model/runtime/memory.h"

#include <unistd.h>

#include <algorithm>

#include "server/model/runtime/control_group.h"

namespace denoise {

uint64_t UsableMemory() {
  uint64_t bytes =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const auto limit = ControlGroup().memory_bytes();
  return limit.has_value() ? std::min(bytes, *limit) : bytes;
}

}  // namespace denoise
