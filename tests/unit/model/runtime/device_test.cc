// A model on a device that is not the CPU: see deferred_device.h.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sysexits.h>

#include <memory>
#include <vector>

#include "ATen/autocast_mode.h"
#include "ATen/ops/zeros.h"
#include "server/model/denoiser/autocast_denoiser.h"
#include "server/model/denoiser/torchscript_denoiser.h"
#include "server/model/examination/batch_sizes.h"
#include "server/model/runtime/accelerators.h"
#include "tests/unit/model/chain/executor_fixture.h"
#include "tests/unit/model/runtime/deferred_device.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::Gt;
using ::testing::HasSubstr;

const LoadOptions kOnOne = {.batch_sizes = {1, 2, 4, 8}, .devices = {"deferred:0"}};

class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    DeferredDevice::Register();
    DeferredDevice::Reset();
  }
  // Whatever was begun was waited for.
  void TearDown() override { EXPECT_EQ(DeferredDevice::pending(), 0); }
};

// x after a few rows of ancestral steps, guided and not, of three chains together.
std::vector<std::vector<float>> SampleOf(Fixture& f) {
  std::vector<SlotId> slots;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    slots.push_back(*f.executor->Start({.seed = seed, .stochastic = true}));
  }
  for (const double t : {900.0, 500.0, 20.0}) {
    Row row = AnswerRow(t);
    row.w[0][kColX] = 0.5;
    row.w[0][kColZ] = 0.1;
    row.noise = true;
    std::vector<RowTask> tasks;
    for (size_t i = 0; i < slots.size(); ++i) {
      tasks.push_back({.slot = slots[i], .row = &row, .label = static_cast<int64_t>(i)});
      tasks[i].guided = i == 1;
      tasks[i].negative_label = 10;
      tasks[i].guidance = 2;
    }
    EXPECT_TRUE(f.Execute(tasks, 4).ok());
  }
  std::vector<std::vector<float>> samples;
  for (const SlotId slot : slots) samples.push_back(f.Read(slot));
  return samples;
}

TEST_F(DeviceTest, IsFoundByLibTorch) {
  const Accelerators found = FindAccelerators("deferred");
  EXPECT_TRUE(found.built);
  EXPECT_EQ(found.count, 2);
}

TEST_F(DeviceTest, AModelIsExaminedAndSampledThere) {
  Fixture cpu("convolutions"), device("convolutions", kOnOne);
  ASSERT_NE(device.executor, nullptr);
  EXPECT_GT(DeferredDevice::bytes(0), 0);  // the weights
  EXPECT_EQ(DeferredDevice::bytes(1), 0);
  EXPECT_EQ(SampleOf(device), SampleOf(cpu));
}

TEST_F(DeviceTest, ACallCopiesFromPinnedMemoryAndWaitsOnce) {
  Fixture f("formula", kOnOne);
  DeferredDevice::Reset();
  const Row row = AnswerRow(100);
  const SlotId slot = f.StartAt(1);
  ASSERT_TRUE(f.Execute({{.slot = slot, .row = &row, .label = 3}}, 2).ok());
  EXPECT_THAT(f.Read(slot), Each(FloatEq(0.5f + 0.1f + 3)));
  const DeferredDevice::Counts counts = DeferredDevice::counts();
  EXPECT_EQ(counts.copies_up, 3);  // x, t, y
  EXPECT_EQ(counts.copies_up_pinned, 3);
  EXPECT_EQ(counts.copies_down, 1);
  EXPECT_EQ(counts.waits, 1);
}

TEST_F(DeviceTest, ConditionsGoUpFromPinnedMemoryToo) {
  const auto model = ServeTestModel("conditioned", kOnOne);
  ASSERT_TRUE(model.ok()) << model.status();
  const DeferredDevice::Counts counts = DeferredDevice::counts();
  EXPECT_GT(counts.copies_up, 0);
  EXPECT_EQ(counts.copies_up_pinned, counts.copies_up);
}

TEST_F(DeviceTest, AFailedCallLeavesNothingUnderWay) {
  Fixture f("formula", kOnOne);
  const Row row = AnswerRow(0);
  const SlotId bad = f.StartAt(1234), good = f.StartAt(2);
  EXPECT_THAT(f.Execute({{.slot = bad, .row = &row}}, 1).message(),
              HasSubstr("a row begins with 1234"));
  EXPECT_EQ(DeferredDevice::pending(), 0);
  ASSERT_TRUE(f.Execute({{.slot = good, .row = &row}}, 1).ok());
  EXPECT_THAT(f.Read(good), Each(1.0f));
}

// Where forward has not touched its inputs when it throws, they are still on their way up.
TEST_F(DeviceTest, InputsAreTheCallersAgainAfterAFailure) {
  const auto denoiser = TorchScriptDenoiser::Load(
      TestModelFolder("raises") + "/denoiser.pt", Layout::kContiguous,
      {{.name = "y", .kind = ModelInput::Kind::kClassLabels}}, c10::Device("deferred:0"));
  ASSERT_TRUE(denoiser.ok()) << denoiser.status();
  const at::Tensor x = at::zeros({1, 1, 8, 8}), t = at::zeros({1}), y = at::zeros({1}, at::kLong);
  DeferredDevice::Reset();
  EXPECT_FALSE((*denoiser)->Run(x, t, {y}).ok());
  EXPECT_EQ(DeferredDevice::counts().copies_up, 3);
  EXPECT_EQ(DeferredDevice::counts().waits, 1);
}

TEST_F(DeviceTest, ALostDeviceEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Fixture f("formula", kOnOne);
  const Row row = AnswerRow(0);
  const SlotId slot = f.StartAt(1);
  DeferredDevice::Lose();
  EXPECT_EXIT(static_cast<void>(f.Execute({{.slot = slot, .row = &row}}, 1)),
              ::testing::ExitedWithCode(EX_SOFTWARE),
              "deferred:0 is lost \\(DEFERRED error: device-side assert triggered\\)");
  DeferredDevice::Reset();
}

TEST_F(DeviceTest, HalfPrecisionIsCastThere) {
  Fixture cpu("float16"), device("float16", kOnOne);
  ASSERT_NE(device.executor, nullptr);
  EXPECT_EQ(device.served->info()->precision, "float16");
  EXPECT_EQ(SampleOf(device), SampleOf(cpu));
}

TEST_F(DeviceTest, ATracedModelMakesItsTensorsThere) {
  Fixture cpu("traced_device"), device("traced_device", kOnOne);
  ASSERT_NE(device.executor, nullptr);
  EXPECT_EQ(SampleOf(device), SampleOf(cpu));
}

TEST_F(DeviceTest, AModelWrittenForCudaIsServedOnWhatIsThere) {
  Fixture cpu("written_for_cuda"), device("written_for_cuda", kOnOne);
  ASSERT_NE(cpu.executor, nullptr);
  ASSERT_NE(device.executor, nullptr);
  EXPECT_EQ(SampleOf(device), SampleOf(cpu));
}

TEST_F(DeviceTest, TheDecoderIsThereToo) {
  Fixture cpu("latent_net");
  Fixture device("latent_net", {.batch_sizes = {1, 2}, .devices = {"deferred:0", "deferred:1"}});
  ASSERT_NE(device.executor, nullptr);
  const auto on_second = device.served->MakeExecutor(1);
  ASSERT_TRUE(on_second.ok()) << on_second.status();
  DeferredDevice::Reset();
  EXPECT_EQ(DecodedBy(*device.executor), DecodedBy(*cpu.executor));
  const DeferredDevice::Counts counts = DeferredDevice::counts();
  EXPECT_EQ(counts.copies_up, 1);
  EXPECT_EQ(counts.copies_up_pinned, 1);
  EXPECT_EQ(counts.copies_down, 1);
  EXPECT_EQ(counts.waits, 1);
  EXPECT_EQ(DecodedBy(**on_second), DecodedBy(*cpu.executor));
}

// Tells whether it was called under autocast for its device.
class AutocastSpy : public Denoiser {
 public:
  explicit AutocastSpy(bool* seen) : Denoiser({.device = c10::Device("deferred:1")}), seen_(seen) {}
  absl::StatusOr<at::Tensor> Run(const at::Tensor& x, const at::Tensor& /*t*/,
                                 absl::Span<const at::Tensor> /*further*/) const override {
    *seen_ = at::autocast::is_autocast_enabled(device().type()) &&
             !at::autocast::is_autocast_enabled(at::kCPU);
    return x;
  }
  absl::string_view executor() const override { return "spy"; }

 private:
  bool* const seen_;
};

TEST_F(DeviceTest, AutocastIsTheDevices) {
  bool seen = false;
  const AutocastDenoiser denoiser(std::make_shared<AutocastSpy>(&seen));
  EXPECT_EQ(denoiser.device(), c10::Device("deferred:1"));
  ASSERT_TRUE(denoiser.Run(at::zeros({1}), at::zeros({1}), {}).ok());
  EXPECT_TRUE(seen);
  EXPECT_FALSE(at::autocast::is_autocast_enabled(c10::kPrivateUse1));
}

TEST_F(DeviceTest, Bfloat16ByAutocastIsServedOnEach) {
  const auto model = ServeTestModel(
      "convolutions",
      {.precision = "bfloat16", .batch_sizes = {2}, .devices = {"deferred:0", "deferred:1"}});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->info()->precision, "bfloat16");
  // Its matrix units take that layout; without them contiguous comes first.
  EXPECT_EQ((*model)->info()->layout, "channels_last");
  EXPECT_EQ((*ServeTestModel("convolutions", kOnOne))->info()->layout, "contiguous");
}

TEST_F(DeviceTest, IsTunedOnTheFirstAlone) {
  const auto model = ServeTestModel(
      "convolutions",
      {.batch_sizes = {2}, .devices = {"deferred:0", "deferred:1"}, .tune_seconds = 0.2});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->info()->replicas, 2);
  ASSERT_EQ((*model)->info()->tuning.size(), 2);  // the layouts
  for (const TuningResult& way : (*model)->info()->tuning) EXPECT_EQ(way.replicas, 1);
}

TEST_F(DeviceTest, ItsNumericsAreNotTheCpus) {
  const auto cpu = ServeTestModel("formula", {.batch_sizes = {1, 2}});
  const auto device = ServeTestModel("formula", {.batch_sizes = {1, 2}, .devices = {"deferred:0"}});
  ASSERT_TRUE(cpu.ok() && device.ok());
  EXPECT_NE((*device)->info()->numerics_id, (*cpu)->info()->numerics_id);
}

TEST_F(DeviceTest, EachDeviceHasTheWeightsOnce) {
  const auto model =
      ServeTestModel("convolutions", {.batch_sizes = {4}, .devices = {"deferred:1", "deferred:0"}});
  ASSERT_TRUE(model.ok()) << model.status();
  const int64_t weights = DeferredDevice::bytes(0);
  EXPECT_GT(weights, 0);
  EXPECT_EQ(DeferredDevice::bytes(1), weights);
  EXPECT_EQ((*model)->info()->replicas, 2);
  const auto first = (*model)->MakeExecutor(0), second = (*model)->MakeExecutor(1);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(DeferredDevice::bytes(0), weights);
  EXPECT_EQ(DeferredDevice::bytes(1), weights);
}

TEST_F(DeviceTest, BatchSizesAreFewAndReachFurther) {
  EXPECT_THAT(*CandidateSizes({}, true, /*accelerator=*/true),
              ElementsAre(1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256));
  EXPECT_THAT(*CandidateSizes({.max_rows = 20}, true, true), ElementsAre(1, 2, 4, 8, 16, 20));
}

TEST_F(DeviceTest, IsMeasuredWithItsWaits) {
  const auto model = ServeTestModel("formula", {.max_batch_rows = 2, .devices = {"deferred:0"}});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->info()->batch_sizes, ElementsAre(1, 2));
  EXPECT_THAT((*model)->info()->denoiser_seconds, Each(Gt(0)));
  // Every call of the examination and of the measurement.
  EXPECT_EQ(DeferredDevice::counts().waits, DeferredDevice::counts().copies_down);
}

}  // namespace
}  // namespace denoise
