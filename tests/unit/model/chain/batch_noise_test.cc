#include "server/model/chain/batch_noise.h"

#include <algorithm>
#include <vector>

#include "ATen/ops/empty.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

using Values = std::vector<float>;

// Draw number `index` of a stream of that seed.
Values DrawOf(uint64_t seed, int64_t values, int index = 0) {
  NoiseStream stream(seed);
  at::Tensor z = at::empty({values}, at::kFloat);
  for (int i = 0; i <= index; ++i) stream.Draw(z);
  return Values(z.const_data_ptr<float>(), z.const_data_ptr<float>() + values);
}

struct Case {
  bool beside;
  int64_t values;  // large ones are drawn by the thread, small ones never
};

class BatchNoiseTest : public ::testing::TestWithParam<Case> {
 protected:
  Values Next() {
    const float* z = noise_.Next();
    return Values(z, z + values_);
  }

  const int64_t values_ = GetParam().values;
  BatchNoise noise_{values_, GetParam().beside};
  NoiseStream first_{1}, second_{2};
};

INSTANTIATE_TEST_SUITE_P(All, BatchNoiseTest,
                         ::testing::Values(Case{false, 784}, Case{true, 784}, Case{true, 20'000}));

TEST_P(BatchNoiseTest, GivesEachChainTheDrawsOfItsStream) {
  for (int batch = 0; batch < 3; ++batch) {
    noise_.Clear();
    noise_.Add(5, &first_);
    noise_.Add(9, &second_);
    noise_.Add(9, &second_);
    noise_.Begin();
    noise_.Finish();
    EXPECT_EQ(Next(), DrawOf(1, values_, batch));
    EXPECT_EQ(Next(), DrawOf(2, values_, 2 * batch));
    EXPECT_EQ(Next(), DrawOf(2, values_, 2 * batch + 1));
  }
}

TEST_P(BatchNoiseTest, GivesTheSameWhenABatchIsTriedAgain) {
  noise_.Add(5, &first_);
  noise_.Add(9, &second_);
  noise_.Add(9, &second_);
  noise_.Begin();
  noise_.Abandon();
  // In another order, in parts, and more than once.
  noise_.Clear();
  noise_.Add(9, &second_);
  noise_.Add(9, &second_);
  noise_.Begin();
  noise_.Abandon();
  noise_.Clear();
  noise_.Add(9, &second_);
  noise_.Add(9, &second_);
  noise_.Begin();
  noise_.Finish();
  EXPECT_EQ(Next(), DrawOf(2, values_, 0));
  EXPECT_EQ(Next(), DrawOf(2, values_, 1));
  for (int batch = 0; batch < 2; ++batch) {
    noise_.Clear();
    noise_.Add(5, &first_);
    noise_.Begin();
    noise_.Finish();
    EXPECT_EQ(Next(), DrawOf(1, values_, batch));
  }
}

TEST_P(BatchNoiseTest, ForgetsWhatAChainThatHasGoneWasToHave) {
  noise_.Add(5, &first_);
  noise_.Begin();
  noise_.Abandon();
  noise_.Forget(5);
  noise_.Clear();
  noise_.Add(5, &second_);  // another chain in that slot
  noise_.Begin();
  noise_.Finish();
  EXPECT_EQ(Next(), DrawOf(2, values_, 0));
}

TEST_P(BatchNoiseTest, MayEndWhileItDraws) {
  noise_.Add(5, &first_);
  noise_.Begin();
  noise_.Abandon();
  noise_.Clear();
  noise_.Begin();
  noise_.Finish();
}

}  // namespace
}  // namespace denoise
