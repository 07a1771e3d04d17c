#include "server/engine/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace denoise {
namespace {

TEST(MemoryBudgetTest, WhatIsReservedIsGivenBackWhenItGoes) {
  MemoryBudget budget(1000);
  {
    auto a = budget.Reserve(MemoryBudget::kRequests, 600);
    ASSERT_TRUE(a.ok());
    MemoryBudget::Reservation moved = *std::move(a);
    EXPECT_EQ(budget.used(MemoryBudget::kRequests), 600u);
    EXPECT_EQ(budget.used(MemoryBudget::kResults), 0u);
    EXPECT_TRUE(budget.Reserve(MemoryBudget::kResults, 400).ok());
    moved = MemoryBudget::Reservation();
  }
  EXPECT_EQ(budget.used(MemoryBudget::kRequests), 0u);
  EXPECT_TRUE(budget.Reserve(MemoryBudget::kResults, 1000).ok());
}

TEST(MemoryBudgetTest, TheUsesShareOneLimit) {
  MemoryBudget budget(1000);
  const auto messages = budget.Reserve(MemoryBudget::kMessages, 300);
  const auto requests = budget.Reserve(MemoryBudget::kRequests, 300);
  const absl::Status full = budget.Reserve(MemoryBudget::kResults, 401).status();
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  for (const char* says : {"600 bytes", "needs 401", "1000 are there", "--memory-budget"}) {
    EXPECT_THAT(std::string(full.message()), testing::HasSubstr(says));
  }
  EXPECT_TRUE(absl::IsResourceExhausted(budget.Reserve(MemoryBudget::kResults, ~0ull).status()));
  EXPECT_TRUE(budget.Reserve(MemoryBudget::kResults, 400).ok());
}

TEST(MemoryBudgetTest, WithoutALimitItOnlyCounts) {
  MemoryBudget budget(0);
  const auto much = budget.Reserve(MemoryBudget::kResults, uint64_t{1} << 60);
  EXPECT_TRUE(much.ok());
  EXPECT_EQ(budget.used(MemoryBudget::kResults), uint64_t{1} << 60);
}

}  // namespace
}  // namespace denoise
