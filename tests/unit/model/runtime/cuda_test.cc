// The bundled model on a CUDA device beside the CPU; skipped where there is none.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "server/model/runtime/accelerators.h"
#include "server/model/runtime/torch_runtime.h"
#include "server/model/served_model.h"

namespace denoise {
namespace {

class CudaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Accelerators cuda = FindAccelerators("cuda");
    if (!cuda.built) GTEST_SKIP() << "this LibTorch is built without CUDA";
    if (cuda.count == 0) GTEST_SKIP() << "no CUDA device: " << cuda.why_none;
    devices_ = cuda.count;
    PrepareProcess();
    PrepareEngineThread(1);
    PrepareAccelerators(/*batch_invariant=*/false);
  }

  static absl::StatusOr<std::shared_ptr<ServedModel>> Serve(const LoadOptions& options) {
    auto model = ServedModel::Load({.path = DENOISE_SOURCE_DIR "/models/digits"}, options);
    if (!model.ok()) return model.status();
    if (absl::Status status = (*model)->Examine(); !status.ok()) return status;
    return model;
  }

  // x of one chain after ten steps of DDIM's kind, guided.
  static std::vector<float> Sample(const ServedModel& model, int replica) {
    auto executor = model.MakeExecutor(replica);
    EXPECT_TRUE(executor.ok()) << executor.status();
    if (!executor.ok()) return {};
    const SlotId slot = *(*executor)->Start({.seed = 1});
    for (int step = 0; step < 10; ++step) {
      Row row;
      row.timestep = 900 - 100 * step;
      row.p = 1;
      row.q = -0.3;
      row.w[0][kColX] = 0.9;
      row.w[0][kColOut] = -0.1;
      const RowTask task = {.slot = slot,
                            .row = &row,
                            .label = 7,
                            .guided = true,
                            .negative_label = 10,
                            .guidance = 2};
      bool finite = false;
      EXPECT_TRUE((*executor)->Execute({task}, 2, {&finite, 1}).ok());
      EXPECT_TRUE(finite);
    }
    std::vector<float> x(model.info()->shape.values());
    (*executor)->Read(slot, x.data());
    return x;
  }

  static double Difference(const std::vector<float>& a, const std::vector<float>& b) {
    double most = a.size() == b.size() && !a.empty() ? 0 : INFINITY;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      most = std::max(most, std::abs(static_cast<double>(a[i]) - b[i]));
    }
    return most;
  }

  int devices_ = 0;
};

TEST_F(CudaTest, AgreesWithTheCpu) {
  const auto cpu = Serve({.batch_sizes = {2}});
  const auto cuda = Serve({.batch_sizes = {2}, .devices = {"cuda:0"}});
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  ASSERT_TRUE(cuda.ok()) << cuda.status();
  EXPECT_LT(Difference(Sample(**cuda, 0), Sample(**cpu, 0)), 1e-4);
}

TEST_F(CudaTest, GivesTheSameBitsTwice) {
  const auto cuda = Serve({.batch_sizes = {2}, .devices = {"cuda:0"}});
  ASSERT_TRUE(cuda.ok()) << cuda.status();
  EXPECT_EQ(Difference(Sample(**cuda, 0), Sample(**cuda, 0)), 0);
}

TEST_F(CudaTest, MeasuresBatchSizes) {
  const auto cuda = Serve({.devices = {"cuda:0"}});
  ASSERT_TRUE(cuda.ok()) << cuda.status();
  const ModelInfo& info = *(*cuda)->info();
  for (size_t i = 0; i < info.batch_sizes.size(); ++i) {
    RecordProperty("rows_" + std::to_string(info.batch_sizes[i]),
                   std::to_string(info.denoiser_seconds[i]));
  }
  EXPECT_GE(info.batch_sizes.back(), 2);
}

TEST_F(CudaTest, SeveralDevicesAgree) {
  if (devices_ < 2) GTEST_SKIP() << "one CUDA device only";
  const auto cuda = Serve({.batch_sizes = {2}, .devices = {"cuda:0", "cuda:1"}});
  ASSERT_TRUE(cuda.ok()) << cuda.status();
  EXPECT_LT(Difference(Sample(**cuda, 0), Sample(**cuda, 1)), 1e-5);
}

}  // namespace
}  // namespace denoise
