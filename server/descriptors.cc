#include "server/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr uint64_t kOwn = 128;

}  // namespace

uint64_t RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlimit raised = {limit.rlim_max, limit.rlim_max};
  return setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

absl::StatusOr<uint32_t> ConnectionsWithin(uint64_t descriptors, uint32_t wanted) {
  if (descriptors <= kOwn) {
    return absl::InvalidArgumentError(
        absl::StrCat("the process may open ", descriptors, " files, and needs ", kOwn,
                     " beside callers' connections: raise the limit (ulimit -n)"));
  }
  return static_cast<uint32_t>(std::min<uint64_t>(wanted, descriptors - kOwn));
}

}  // namespace denoise
