#include "server/model/runtime/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace denoise {

uint64_t UsableMemory() {
  uint64_t bytes =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  for (const char* path : {"/sys/fs/cgroup/memory.max",                       // version 2
                           "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {  // version 1
    std::ifstream file(path);
    uint64_t limit = 0;  // version 2 says "max" for none
    if (file >> limit && limit > 0) bytes = std::min(bytes, limit);
  }
  return bytes;
}

}  // namespace denoise
