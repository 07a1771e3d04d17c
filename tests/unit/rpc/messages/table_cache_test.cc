#include "server/rpc/messages/table_cache.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "server/diffusion/field_error.h"
#include "tests/unit/rpc/test_model.h"

namespace denoise {
namespace {

SamplerOptions Steps(uint32_t steps) {
  SamplerOptions options;
  options.steps = steps;
  return options;
}

TEST(TableCacheTest, SameOptionsShareATable) {
  TableCache cache;
  const auto model = Shared(TestModel());
  const auto table = cache.Get(*model, Steps(10));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ((*table)->total_steps, 10u);
  EXPECT_EQ(*cache.Get(*model, Steps(10)), *table);
  EXPECT_NE(*cache.Get(*model, Steps(11)), *table);
  SamplerOptions half = Steps(10);
  half.strength = 0.5;
  EXPECT_EQ((*cache.Get(*model, half))->total_steps, 5u);
  EXPECT_EQ(*cache.Get(*model, half), *cache.Get(*model, half));
  // Another model with the same name is another model.
  EXPECT_NE(*cache.Get(*Shared(TestModel()), Steps(10)), *table);
}

TEST(TableCacheTest, LeastRecentlyUsedGo) {
  TableCache cache(/*max_rows=*/30);
  const auto model = Shared(TestModel());
  const auto ten = *cache.Get(*model, Steps(10));
  const auto twenty = *cache.Get(*model, Steps(20));
  EXPECT_EQ(cache.rows(), 30u);
  EXPECT_EQ(*cache.Get(*model, Steps(10)), ten);  // used again, so 20 is the older
  ASSERT_TRUE(cache.Get(*model, Steps(15)).ok());
  EXPECT_EQ(cache.rows(), 25u);
  EXPECT_EQ(*cache.Get(*model, Steps(10)), ten);
  EXPECT_NE(*cache.Get(*model, Steps(20)), twenty);
}

TEST(TableCacheTest, TooLargeATableIsMadeButNotKept) {
  TableCache cache(/*max_rows=*/30);
  const auto model = Shared(TestModel());
  ASSERT_TRUE(cache.Get(*model, Steps(10)).ok());
  const auto large = cache.Get(*model, Steps(100));
  ASSERT_TRUE(large.ok());
  EXPECT_EQ((*large)->rows.size(), 100u);
  EXPECT_EQ(cache.rows(), 10u);
}

TEST(TableCacheTest, ErrorsAreNotKept) {
  TableCache cache;
  const auto model = Shared(TestModel());
  EXPECT_EQ(FieldOf(cache.Get(*model, Steps(101)).status()), "sampler.steps");
  EXPECT_EQ(cache.rows(), 0u);
}

TEST(TableCacheTest, ManyThreads) {
  TableCache cache(/*max_rows=*/100);
  const auto model = Shared(TestModel());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&cache, &model, i] {
      for (uint32_t k = 0; k < 200; ++k) {
        const uint32_t steps = 1 + (k * 7 + i) % 40;
        EXPECT_EQ((*cache.Get(*model, Steps(steps)))->total_steps, steps);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(cache.rows(), 100u);
}

}  // namespace
}  // namespace denoise
