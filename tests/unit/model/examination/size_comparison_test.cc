#include "server/model/examination/size_comparison.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "ATen/ATen.h"
#include "server/model/denoiser/denoiser.h"

namespace denoise {
namespace {

// x/2 + t/1000 + y; at `wrong_at` rows something is added to the last row.
class Formula : public Denoiser {
 public:
  explicit Formula(int64_t wrong_at = 0, double by = 0)
      : Denoiser(Traits{}), wrong_at_(wrong_at), by_(by) {}

  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& t,
                                 absl::Span<const at::Tensor> further) const override {
    at::Tensor answer = 0.5 * x + (t / 1000 + further[0]).view({-1, 1, 1, 1});
    if (x.size(0) == wrong_at_) answer[-1] += by_;
    return answer;
  }
  absl::string_view executor() const override { return "formula"; }

 private:
  const int64_t wrong_at_;
  const double by_;
};

ModelInfo Info() {
  ModelInfo info;
  info.shape = {2, 3, 4};
  info.num_classes = 10;
  ModelInput labels;
  labels.name = "class_labels";
  labels.kind = ModelInput::Kind::kClassLabels;
  labels.type = ElementType::kInt64;
  info.inputs = {labels};
  info.config.betas = std::vector<double>(1000, 0.01);
  return info;
}

TEST(CompareSizesTest, FindsTheSizeAtWhichRowsAreWrong) {
  const Formula right, wrong(16, 0.5);
  auto worst = CompareSizes(right, right, Info(), {1, 2, 15, 16, 17});
  ASSERT_TRUE(worst.ok()) << worst.status();
  EXPECT_EQ(worst->difference, 0);

  worst = CompareSizes(wrong, right, Info(), {1, 2, 15, 16, 17});
  ASSERT_TRUE(worst.ok()) << worst.status();
  EXPECT_EQ(worst->rows, 16);
  EXPECT_GT(worst->difference, 0.01);

  // Where there is nothing else, its own single rows are what a batch is compared with.
  worst = CompareSizes(wrong, wrong, Info(), {1, 2, 15, 16, 17});
  ASSERT_TRUE(worst.ok()) << worst.status();
  EXPECT_EQ(worst->rows, 16);
  EXPECT_GT(worst->difference, 0.01);

  worst = CompareSizes(wrong, right, Info(), {1, 2, 15, 17});
  ASSERT_TRUE(worst.ok()) << worst.status();
  EXPECT_EQ(worst->difference, 0);
}

TEST(CompareSizesTest, RefusesWhatIsNotFinite) {
  const Formula right, wrong(3, std::numeric_limits<double>::quiet_NaN());
  EXPECT_TRUE(absl::IsInvalidArgument(CompareSizes(wrong, right, Info(), {1, 3}).status()));
}

}  // namespace
}  // namespace denoise
