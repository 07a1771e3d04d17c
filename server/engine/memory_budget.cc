#include "server/engine/memory_budget.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace denoise {

absl::StatusOr<MemoryBudget::Reservation> MemoryBudget::Reserve(Use use, uint64_t bytes) {
  uint64_t used = used_.load(std::memory_order_relaxed);
  do {
    if (limit_ > 0 && (bytes > limit_ || used > limit_ - bytes)) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the server's memory for requests is full: they hold ", used, " bytes, this needs ",
          bytes, ", and ", limit_, " are there (--memory-budget): retry later"));
    }
  } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  of_use_[use].fetch_add(bytes, std::memory_order_relaxed);
  return Reservation(this, use, bytes);
}

void MemoryBudget::Release(Use use, uint64_t bytes) {
  of_use_[use].fetch_sub(bytes, std::memory_order_relaxed);
  used_.fetch_sub(bytes, std::memory_order_relaxed);
}

}  // namespace denoise
