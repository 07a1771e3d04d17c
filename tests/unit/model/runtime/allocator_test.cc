#include "server/model/runtime/allocator.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <memory>
#include <thread>

namespace denoise {
namespace {

constexpr size_t kBytes = 64 << 20;

int64_t Resident() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

void OnThread(const std::function<void()>& work) { std::thread(work).join(); }

// How much more is resident after a block was written to and freed.
int64_t LeftBehind() {
  const int64_t before = Resident();
  auto block = std::make_unique<char[]>(kBytes);
  volatile char* bytes = block.get();
  for (size_t i = 0; i < kBytes; i += 4096) bytes[i] = 1;
  block.reset();
  return Resident() - before;
}

class AllocatorTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers have an allocator of their own";
#endif
  }
};

TEST_F(AllocatorTest, WhatIsFreeGoesBackAtOnce) {
  OnThread([] { EXPECT_LT(LeftBehind(), static_cast<int64_t>(kBytes) / 10); });
}

TEST_F(AllocatorTest, EnginesKeepTheirFreePagesUntilTheyAreAskedFor) {
  OnThread([] {
    KeepFreePages();
    KeepFreePages();  // again, harmless
    EXPECT_GE(LeftBehind(), static_cast<int64_t>(kBytes) * 9 / 10);
    EXPECT_LT(LeftBehind(), static_cast<int64_t>(kBytes) / 10) << "the same pages";
    const int64_t before = Resident();
    ReleaseFreeMemory();
    EXPECT_LT(Resident() - before, -static_cast<int64_t>(kBytes) * 9 / 10);
  });
}

}  // namespace
}  // namespace denoise
