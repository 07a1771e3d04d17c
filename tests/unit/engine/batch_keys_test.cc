#include "server/engine/batch_keys.h"

#include "gtest/gtest.h"

namespace denoise {
namespace {

Conditions WithShape(std::vector<int64_t> shape, float value = 0) {
  Condition condition;
  condition.shape = std::move(shape);
  condition.data.assign(4, static_cast<char>(value));
  return {condition};
}

TEST(BatchKeysTest, AreOneForAModelAndShapesWhateverTheData) {
  BatchKeys keys;
  const Conditions a = WithShape({7, 3}, 1);
  const Conditions b = WithShape({7, 3}, 2);
  const Conditions longer = WithShape({8, 3});
  const int key = keys.Hold(0, &a);
  EXPECT_EQ(keys.Hold(0, &b), key);
  EXPECT_NE(keys.Hold(0, &longer), key);
  EXPECT_NE(keys.Hold(1, &a), key);
}

TEST(BatchKeysTest, NoConditionsAreAShapeToo) {
  BatchKeys keys;
  const Conditions none;
  const Conditions one = WithShape({1});
  const int key = keys.Hold(0, nullptr);
  EXPECT_EQ(keys.Hold(0, &none), key);
  EXPECT_NE(keys.Hold(0, &one), key);
  EXPECT_NE(keys.Hold(1, nullptr), key);
}

TEST(BatchKeysTest, ANumberThatNobodyHoldsIsGivenAwayAgain) {
  BatchKeys keys;
  const Conditions a = WithShape({1});
  const Conditions b = WithShape({2});
  const Conditions c = WithShape({3});
  const int key = keys.Hold(0, &a);
  keys.Hold(0, &a);
  const int other = keys.Hold(0, &b);
  keys.Release(key);
  EXPECT_NE(keys.Hold(0, &c), key);  // held once still
  keys.Release(key);
  EXPECT_EQ(keys.Hold(0, &b), other);
  const Conditions d = WithShape({4});
  EXPECT_EQ(keys.Hold(1, &d), key);
}

// Callers may choose extents at will, and so many shapes over time.
TEST(BatchKeysTest, AreNeverMoreThanAreHeldAtOnce) {
  BatchKeys keys;
  for (int64_t extent = 1; extent <= 1000; ++extent) {
    const Conditions conditions = WithShape({extent});
    const int key = keys.Hold(0, &conditions);
    EXPECT_EQ(key, 0);
    keys.Release(key);
  }
}

}  // namespace
}  // namespace denoise
