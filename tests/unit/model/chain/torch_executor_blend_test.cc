// The executor's chains that start from an image, blend with one, are guided with rescale or
// thresholded: on models whose answers are known, see make_models.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/model/chain/executor_fixture.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::FloatNear;
using ::testing::Pointwise;

std::vector<float> Ramp(int64_t n, float first) {
  std::vector<float> values(n);
  for (int64_t i = 0; i < n; ++i) values[i] = first + i;
  return values;
}

// x ← its z, then blended; no denoiser.
Row BlendRow(Blend blend, bool noise = false) {
  Row row;
  row.denoise = false;
  row.noise = noise;
  row.w[0][kColZ] = noise ? 1 : 0;
  row.blend = blend;
  row.blend_alpha = 0.5;
  row.blend_sigma = 2;
  return row;
}

TEST(TorchExecutorStartTest, AddsTheImageToTheNoise) {
  Fixture f("formula");
  const std::vector<float> x = Ramp(f.values, 1), image = Ramp(f.values, -7);
  ChainStart start;
  start.registers = 2;
  start.x = x;
  start.scale = 0.5;
  start.image = image;
  start.image_scale = 0.25;
  const SlotId slot = *f.executor->Start(start);
  std::vector<float> expected(f.values);
  for (int64_t i = 0; i < f.values; ++i) expected[i] = 0.5f * x[i] + 0.25f * image[i];
  EXPECT_EQ(f.Read(slot), expected);
  // Every register is so.
  Row other;
  other.denoise = false;
  other.w[0][kColH1] = 1;
  ASSERT_TRUE(f.Execute({{.slot = slot, .row = &other}}, 0).ok());
  EXPECT_EQ(f.Read(slot), expected);

  // With a draw in place of x.
  const std::vector<float> z = f.Read(*f.executor->Start({.seed = 5}));
  for (int64_t i = 0; i < f.values; ++i) expected[i] = 0.5f * z[i] + 0.25f * image[i];
  start.x = {};
  start.seed = 5;
  EXPECT_EQ(f.Read(*f.executor->Start(start)), expected);
}

TEST(TorchExecutorBlendTest, KeepsTheFirstDraw) {
  Fixture f("formula");
  const std::vector<float> z = f.Read(*f.executor->Start({.seed = 11}));
  const std::vector<float> known = Ramp(f.values, 0), mask(f.values, 1.0f);
  std::vector<float> expected(f.values);
  for (int64_t i = 0; i < f.values; ++i) expected[i] = 0.5f * known[i] + 2 * z[i];

  ChainStart start;
  start.registers = 3;
  start.seed = 11;
  start.scale = 7;  // kept unscaled
  start.keep_noise = true;
  const Row row = BlendRow(Blend::kKeptNoise), noisy = BlendRow(Blend::kKeptNoise, true);
  for (const bool stochastic : {false, true}) {
    start.stochastic = stochastic;
    RowTask task = {.slot = *f.executor->Start(start), .row = stochastic ? &noisy : &row};
    task.known = known.data();
    task.mask = mask.data();
    for (int rows = 0; rows < 3; ++rows) {  // row after row the same, whatever else was drawn
      ASSERT_TRUE(f.Execute({task}, 0).ok());
      EXPECT_EQ(f.Read(task.slot), expected);
    }
  }

  // The caller's x stands for the draw.
  const std::vector<float> x = Ramp(f.values, 30);
  start.x = x;
  RowTask task = {.slot = *f.executor->Start(start), .row = &row};
  task.known = known.data();
  task.mask = mask.data();
  ASSERT_TRUE(f.Execute({task}, 0).ok());
  for (int64_t i = 0; i < f.values; ++i) expected[i] = 0.5f * known[i] + 2 * x[i];
  EXPECT_EQ(f.Read(task.slot), expected);
}

TEST(TorchExecutorBlendTest, MixesAfterTheRow) {
  Fixture f("formula");
  Row row = AnswerRow(0);
  row.blend = Blend::kKnown;
  const std::vector<float> known(f.values, 8.0f), mask(f.values, 0.25f);
  std::vector<float> x(f.values), x0(f.values);
  RowTask task = {.slot = f.StartAt(4), .row = &row};
  task.known = known.data();
  task.mask = mask.data();
  task.x_out = x.data();
  task.x0_out = x0.data();
  // Beside a chain that does not blend.
  const Row plain = AnswerRow(0);
  const SlotId other = f.StartAt(4);
  ASSERT_TRUE(f.Execute({task, {.slot = other, .row = &plain}}, 2).ok());
  EXPECT_THAT(x, Each(0.25f * 8 + 0.75f * 2));
  EXPECT_EQ(f.Read(task.slot), x);
  EXPECT_THAT(x0, Each(10.0f));
  EXPECT_THAT(f.Read(other), Each(2.0f));
}

// Against numbers that Python's torch.randn has written: the row's z comes first.
TEST(TorchExecutorBlendTest, DrawsInTheOrderOfTorch) {
  std::ifstream file(TestModelFolder("noise.txt"));
  std::string line;
  int lines = 0;
  while (std::getline(file, line)) {
    ++lines;
    SCOPED_TRACE(line.substr(0, 30));
    std::istringstream words(line);
    uint64_t seed;
    int64_t c, h, w;
    ASSERT_TRUE(words >> seed >> c >> h >> w);
    Fixture f(absl::StrCat("plain_", c, "x", h, "x", w).c_str());
    const std::vector<float> known(f.values, 0.0f), ones(f.values, 1.0f);
    std::vector<float> half(f.values), first(f.values), second(f.values), mixed(f.values);
    for (std::vector<float>* draw : {&first, &second}) {
      for (float& value : *draw) {
        double number;
        ASSERT_TRUE(words >> number);
        value = static_cast<float>(number);
      }
    }
    for (int64_t i = 0; i < f.values; ++i) {
      half[i] = i % 2;
      mixed[i] = i % 2 == 0 ? first[i] : 2 * second[i];
    }

    const std::vector<float> x(f.values, 3.0f);  // given, so that nothing is drawn at the start
    ChainStart start;
    start.seed = seed;
    start.stochastic = true;
    start.x = x;
    const Row both = BlendRow(Blend::kFreshNoise, true), blend = BlendRow(Blend::kFreshNoise);
    RowTask task = {.slot = *f.executor->Start(start), .row = &both};
    task.known = known.data();
    task.mask = half.data();
    ASSERT_TRUE(f.Execute({task}, 0).ok());
    EXPECT_THAT(f.Read(task.slot), Pointwise(FloatNear(2e-5), mixed));

    // A row without noise of its own draws the blend's alone.
    task = {.slot = *f.executor->Start(start), .row = &blend};
    task.known = known.data();
    task.mask = ones.data();
    for (const std::vector<float>& draw : {first, second}) {
      ASSERT_TRUE(f.Execute({task}, 0).ok());
      std::vector<float> expected = draw;
      for (float& value : expected) value *= 2;
      EXPECT_THAT(f.Read(task.slot), Pointwise(FloatNear(2e-5), expected));
    }
  }
  EXPECT_EQ(lines, 12);
}

TEST(TorchExecutorBlendTest, DrawsNothingWhenTheDenoiserThrows) {
  Fixture f("formula");
  Row row = AnswerRow(10);
  row.blend = Blend::kFreshNoise;
  row.blend_sigma = 1;
  const Row plain = AnswerRow(10);
  const std::vector<float> known(f.values, 1.0f), mask(f.values, 0.5f);
  ChainStart start;
  start.seed = 3;
  start.stochastic = true;
  std::vector<RowTask> tasks(2);
  for (RowTask& task : tasks) {
    task = {.slot = *f.executor->Start(start), .row = &row};
    task.known = known.data();
    task.mask = mask.data();
  }
  const std::vector<float> before = f.Read(tasks[0].slot);
  const RowTask guilty = {.slot = f.StartAt(1234), .row = &plain};
  EXPECT_TRUE(absl::IsInternal(f.Execute({tasks[0], guilty}, 2)));
  EXPECT_EQ(f.Read(tasks[0].slot), before);
  ASSERT_TRUE(f.Execute({tasks[0]}, 1).ok());
  ASSERT_TRUE(f.Execute({tasks[1]}, 1).ok());
  EXPECT_EQ(f.Read(tasks[0].slot), f.Read(tasks[1].slot));
}

TEST(TorchExecutorBlendTest, RefusesRowsWithoutWhatTheyBlendWith) {
  Fixture f("formula");
  const std::vector<float> values(f.values, 0.5f);
  const SlotId slot = f.StartAt(1);
  const auto run = [&](Blend blend, const float* known, const float* mask) {
    const Row row = BlendRow(blend);
    RowTask task = {.slot = slot, .row = &row};
    task.known = known;
    task.mask = mask;
    return f.Execute({task}, 0);
  };
  EXPECT_TRUE(absl::IsInternal(run(Blend::kKnown, nullptr, values.data())));
  EXPECT_TRUE(absl::IsInternal(run(Blend::kKnown, values.data(), nullptr)));
  EXPECT_TRUE(absl::IsInternal(run(Blend::kKeptNoise, values.data(), values.data())));
  EXPECT_TRUE(absl::IsInternal(run(Blend::kFreshNoise, values.data(), values.data())));
  EXPECT_THAT(f.Read(slot), Each(1.0f));
  EXPECT_TRUE(run(Blend::kKnown, values.data(), values.data()).ok());
}

// The model: (1 + y) x/2 + t/1000, so at t = 0 the guided answer's spread is that of x times
// ½ (1 + y_u + g (y_c - y_u)); its variance channels are x + y.
TEST(TorchExecutorGuidanceTest, RescalesTheFirstChannelsOnly) {
  Fixture f("learned_variance_of_classes");
  const std::vector<float> x = Ramp(f.values, -8);
  ChainStart start;
  start.x = x;
  start.seed = 2;
  start.stochastic = true;
  Row row = AnswerRow(0);
  std::vector<RowTask> tasks(3);
  for (int i = 0; i < 3; ++i) {
    tasks[i] = {.slot = *f.executor->Start(start), .row = &row, .label = 3, .guided = true};
    tasks[i].negative_label = 1;
    tasks[i].guidance = 4;
    tasks[i].guidance_rescale = 0.5f * i;
  }
  ASSERT_TRUE(f.Execute(tasks, 8).ok());
  for (int i = 0; i < 3; ++i) {
    std::vector<float> expected = x;
    for (float& value : expected) value *= 5 - 1.5f * i;  // from 5 x to 2 x, as the condition alone
    EXPECT_THAT(f.Read(tasks[i].slot), Pointwise(FloatNear(1e-5), expected));
  }

  // The variance is the conditional row's, untouched by any of it.
  row = BlendRow(Blend::kNone, true);
  const SlotId plain = *f.executor->Start(start);
  ASSERT_TRUE(f.Execute({{.slot = plain, .row = &row}}, 0).ok());
  const std::vector<float> z = f.Read(plain);
  row = AnswerRow(0);
  row.noise = true;
  row.w[0][kColOut] = 0;
  row.w[0][kColZ] = 1;
  row.variance = RowVariance::kLearned;
  const std::vector<float> quarter(f.values, 0.25f);
  start.x = quarter;
  tasks[2].slot = *f.executor->Start(start);
  ASSERT_TRUE(f.Execute({tasks[2]}, 2).ok());
  std::vector<float> expected = z;
  for (float& value : expected) value *= std::exp(0.5f * 3.25f);
  EXPECT_THAT(f.Read(tasks[2].slot), Pointwise(FloatNear(1e-4), expected));
}

TEST(TorchExecutorThresholdTest, EverySampleHasItsOwn) {
  Fixture f("plain_1x28x28");  // x + t
  Row row;
  row.p = 0;
  row.q = 1;
  row.threshold = true;
  row.threshold_ratio = 1;
  row.threshold_max = 1000;
  row.w[0][kColX0] = 1;
  std::vector<float> x0(f.values);
  std::vector<RowTask> tasks(2);
  const std::vector<float> small = Ramp(f.values, 1), large = Ramp(f.values, 17);
  tasks[0] = {.slot = f.Start(small), .row = &row};
  tasks[1] = {.slot = f.Start(large), .row = &row};
  tasks[1].x0_out = x0.data();
  ASSERT_TRUE(f.Execute(tasks, 2).ok());
  std::vector<float> expected = small;
  for (float& value : expected) value /= 784;
  EXPECT_EQ(f.Read(tasks[0].slot), expected);
  expected = large;
  for (float& value : expected) value /= 800;
  EXPECT_EQ(f.Read(tasks[1].slot), expected);
  EXPECT_EQ(x0, expected);
}

}  // namespace
}  // namespace denoise
