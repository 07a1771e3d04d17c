// Chains of a tenant that engines have, counted for as long as they have them.
#ifndef DENOISE_SERVER_ENGINE_ACTIVE_CHAINS_H_
#define DENOISE_SERVER_ENGINE_ACTIVE_CHAINS_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace denoise {

// So many chains in a count that is shared with others, until it is destroyed. Whatever way a chain
// goes, to another engine or to its end, its part of the count goes with it. An object is of one
// thread; the count is of all.
class ActiveChains {
 public:
  using Count = std::shared_ptr<std::atomic<size_t>>;

  ActiveChains() = default;
  ActiveChains(Count count, size_t chains) : count_(std::move(count)), chains_(chains) {
    count_->fetch_add(chains_, std::memory_order_relaxed);
  }
  ActiveChains(ActiveChains&& other) noexcept { *this = std::move(other); }
  ActiveChains& operator=(ActiveChains&& other) noexcept {
    std::swap(count_, other.count_);
    std::swap(chains_, other.chains_);
    return *this;
  }
  ~ActiveChains() {
    if (chains_ > 0) count_->fetch_sub(chains_, std::memory_order_relaxed);
  }

  // One of them, which this one counts no more; none where there is none.
  ActiveChains TakeOne() {
    ActiveChains one;
    if (chains_ == 0) return one;
    --chains_;
    one.count_ = count_;
    one.chains_ = 1;
    return one;
  }

 private:
  Count count_;
  size_t chains_ = 0;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_ACTIVE_CHAINS_H_
