// What an engine does at every tick takes no memory once it is warm.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_fixture.h"

namespace {

thread_local int64_t allocations = 0;

void* Allocate(std::size_t size, std::size_t alignment = alignof(std::max_align_t)) {
  ++allocations;
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return Allocate(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace denoise {
namespace {

using ::testing::Each;

// From a batch to the next on the engine's thread: the whole turn but for the denoiser.
class AllocationTest : public EngineTest {
 protected:
  static constexpr size_t kTicks = 300;

  void StartCounting(Policy policy = {}) {
    counts_.reserve(2 * kTicks);
    Start(
        [this](absl::Span<const RowTask>) {
          counts_.push_back(allocations - last_);
          last_ = allocations;
          return absl::OkStatus();
        },
        Batching::kStep, /*engines=*/1, /*max_active=*/64, policy);
  }

  // Of the turns in the middle: neither those in which chains come or go, nor the first, in which
  // buffers grow.
  std::vector<int64_t> Steady() const {
    return {counts_.begin() + kTicks / 3, counts_.end() - kTicks / 3};
  }

  std::vector<int64_t> counts_;
  int64_t last_ = 0;
};

TEST_F(AllocationTest, ATickOfASamplesChainsTakesNoMemory) {
  StartCounting();
  Submitted submitted = Submit(kTicks, 8);
  ExpectResult(submitted);
  Settle();
  EXPECT_THAT(Steady(), Each(0));
  EXPECT_GT(counts_[0], 0) << "nothing is counted";
}

// More chains than a batch holds, some guided, with deadlines: ranked at every tick. Memory is
// taken only in those few in which one of them ends.
TEST_F(AllocationTest, NorDoesOneInWhichChainsTakeTurns) {
  StartCounting(Policy({.order = Order::kSrpf}));
  std::vector<Submitted> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(Make(kTicks / 3, 6, i));
    all.back().request->deadline = clock_.Now() + std::chrono::hours(1);
    all.back().request->guided = i == 1;
  }
  for (Submitted& submitted : all) Push(submitted);
  for (Submitted& submitted : all) ExpectResult(submitted);
  Settle();
  ASSERT_GT(counts_.size(), 200u);
  const auto taking =
      std::count_if(counts_.begin() + 20, counts_.end(), [](int64_t count) { return count > 0; });
  EXPECT_LE(taking, 18);
}

}  // namespace
}  // namespace denoise
