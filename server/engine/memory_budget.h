// The memory that callers make the server hold, in one account.
#ifndef DENOISE_SERVER_ENGINE_MEMORY_BUDGET_H_
#define DENOISE_SERVER_ENGINE_MEMORY_BUDGET_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace denoise {

// Chains that run have a share of their own (WaitingQueue::Options::max_bytes). Thread-safe.
class MemoryBudget {
 public:
  enum Use {
    kMessages,  // being parsed, until they are requests
    kRequests,  // what requests brought, and their tables
    kResults,   // of those requests, whether they are there yet or not
    kNumUses,
  };

  // Part of a budget, given back when it goes. The budget outlives it.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept { *this = std::move(other); }
    Reservation& operator=(Reservation&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(use_, other.use_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Reservation() {
      if (budget_ != nullptr) budget_->Release(use_, bytes_);
    }

   private:
    friend class MemoryBudget;
    Reservation(MemoryBudget* budget, Use use, uint64_t bytes)
        : budget_(budget), use_(use), bytes_(bytes) {}

    MemoryBudget* budget_ = nullptr;
    Use use_ = kMessages;
    uint64_t bytes_ = 0;
  };

  // `limit`: bytes of all uses together; 0: no bound.
  explicit MemoryBudget(uint64_t limit) : limit_(limit) {}

  // RESOURCE_EXHAUSTED, with all the numbers, where so many are not left.
  absl::StatusOr<Reservation> Reserve(Use use, uint64_t bytes);

  uint64_t limit() const { return limit_; }
  uint64_t used(Use use) const { return of_use_[use].load(std::memory_order_relaxed); }

 private:
  void Release(Use use, uint64_t bytes);

  const uint64_t limit_;
  std::atomic<uint64_t> used_{0};  // of all uses
  std::array<std::atomic<uint64_t>, kNumUses> of_use_{};
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_MEMORY_BUDGET_H_
