// The precisions, and the other ways to run a model that tuning chooses among.
#include "server/model/runtime/precision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "server/model/examination/numerics_id.h"
#include "server/model/runtime/machine.h"
#include "tests/unit/model/served_test_model.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Machine WithBfloat16(bool has) { return {.cpu = "a CPU", .bfloat16 = has}; }

TEST(CheckPrecisionTest, Bfloat16NeedsTheCpusInstructions) {
  EXPECT_TRUE(CheckPrecision("float32", "float32", WithBfloat16(false)).ok());
  EXPECT_TRUE(CheckPrecision("bfloat16", "float32", WithBfloat16(true)).ok());
  const absl::Status refused = CheckPrecision("bfloat16", "float32", WithBfloat16(false));
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("--precision"), HasSubstr("a CPU"), HasSubstr("AVX512_BF16")));
}

TEST(CheckPrecisionTest, Bfloat16NeedsFloat32Weights) {
  EXPECT_TRUE(CheckPrecision("bfloat16", "bfloat16", WithBfloat16(true)).ok());
  EXPECT_THAT(std::string(CheckPrecision("bfloat16", "float16", WithBfloat16(true)).message()),
              HasSubstr("are float16"));
  EXPECT_FALSE(CheckPrecision("int8", "float32", WithBfloat16(true)).ok());
}

TEST(DescribeCpuTest, ReadsTheFirstProcessor) {
  const Machine machine = DescribeCpu(
      "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\n"
      "model name\t: Xeon\nstepping\t: 8\nflags\t\t: fpu avx512_bf16 amx_bf16 sse\n\n"
      "processor\t: 1\nmodel name\t: another\n",
      "AVX512");
  EXPECT_EQ(machine.cpu, "GenuineIntel 6 143 8 Xeon");
  EXPECT_EQ(machine.capability, "GenuineIntel AVX512 avx512_bf16 amx_bf16");
  EXPECT_TRUE(machine.bfloat16);
  EXPECT_FALSE(DescribeCpu("vendor_id : AuthenticAMD\nflags : avx2\n", "AVX2").bfloat16);
  EXPECT_TRUE(DescribeCpu("CPU part : 0xd4f\nFeatures : fp asimd bf16\n", "DEFAULT").bfloat16);
  EXPECT_FALSE(DescribeCpu("", "DEFAULT").bfloat16);
}

TEST(ThisMachineTest, HasACoreAndALibTorch) {
  EXPECT_GE(ThisMachine().cores, 1);
  EXPECT_THAT(ThisMachine().libtorch, HasSubstr("."));
  EXPECT_FALSE(ThisMachine().capability.empty());
}

TEST(NumericsIdTest, DependsOnWhatChangesBits) {
  const Machine machine = {.capability = "AVX512", .libtorch = "2.13.0"};
  ModelInfo info;
  info.sha256 = "abc";
  info.layout = "contiguous";
  const std::string id = NumericsId(info, machine, "bits");
  EXPECT_EQ(id.size(), 32u);
  ModelInfo same = info;
  same.replicas = 7;
  same.batch_sizes = {1, 2};
  same.tuning.resize(3);
  EXPECT_EQ(NumericsId(same, machine, "bits"), id);

  std::vector<ModelInfo> others(6, info);
  others[0].sha256 = "abd";
  others[1].layout = "channels_last";
  others[2].precision = "bfloat16";
  others[3].executor = "aotinductor";
  others[4].threads = 2;
  others[5].batch_invariant = true;
  for (const ModelInfo& other : others) EXPECT_NE(NumericsId(other, machine, "bits"), id);
  EXPECT_NE(NumericsId(info, machine, "other bits"), id);
  ModelInfo decoded = info;
  decoded.decoder = DecoderInfo{.sha256 = "d"};
  EXPECT_NE(NumericsId(decoded, machine, "bits"), id);
  EXPECT_NE(NumericsId(info, {.capability = "AVX2", .libtorch = "2.13.0"}, "bits"), id);
  EXPECT_NE(NumericsId(info, {.capability = "AVX512", .libtorch = "2.14.0"}, "bits"), id);
}

TEST(PrecisionTest, Bfloat16IsMeasuredAgainstFloat32) {
  if (!ThisMachine().bfloat16) GTEST_SKIP() << "this CPU has no bfloat16";
  const auto model = ServeTestModel("convolutions", {.precision = "bfloat16", .batch_sizes = {4}});
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelInfo& info = *(*model)->info();
  EXPECT_EQ(info.precision, "bfloat16");
  EXPECT_EQ(info.layout, "channels_last");
  ASSERT_EQ(info.tuning.size(), 1u);
  EXPECT_TRUE(info.tuning[0].chosen);
  EXPECT_GT(info.tuning[0].relative_error, 1e-5) << "computed in float32 all the same";
  EXPECT_LT(info.tuning[0].relative_error, 3e-2);
  const auto float32 = ServeTestModel("convolutions", {.batch_sizes = {4}});
  EXPECT_LT((*float32)->info()->tuning[0].relative_error, 1e-5);
  EXPECT_NE((*float32)->info()->numerics_id, info.numerics_id);
}

TEST(PrecisionTest, ModelsOfBfloat16RunAsTheyAre) {
  for (const char* precision : {"float32", "bfloat16"}) {
    if (std::string(precision) == "bfloat16" && !ThisMachine().bfloat16) continue;
    const auto model = ServeTestModel("bfloat16", {.precision = precision, .batch_sizes = {4}});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->info()->precision, "bfloat16");
  }
}

TEST(PrecisionTest, IsRefusedForOtherWeights) {
  const auto model = ServeTestModel("float64", {.precision = "bfloat16"});
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("are float64"));
}

TEST(TuningTest, ComparesLayoutsAndPlansThatAgree) {
  const auto model = ServeTestModel("convolutions",
                                    {.replicas = 0, .threads = 0, .cores = 2, .tune_seconds = 0.2});
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelInfo& info = *(*model)->info();
  EXPECT_EQ(info.replicas * info.threads, 2);
  int chosen = 0;
  for (const TuningResult& way : info.tuning) {
    EXPECT_GT(way.rows_per_second, 0);
    EXPECT_GT(way.call_seconds, 0);
    EXPECT_LE(way.relative_error, 1e-5);
    if (!way.chosen) continue;
    ++chosen;
    EXPECT_EQ(way.layout, info.layout);
    EXPECT_EQ(way.replicas, info.replicas);
  }
  EXPECT_EQ(chosen, 1);
  EXPECT_GT(info.tuning.size(), 1u);
}

TEST(TuningTest, ForLatencyRunsOneRow) {
  const auto model = ServeTestModel("convolutions", {.replicas = 0,
                                                     .threads = 0,
                                                     .cores = 2,
                                                     .tune_for = TuneFor::kLatency,
                                                     .tune_seconds = 0.1});
  ASSERT_TRUE(model.ok()) << model.status();
  for (const TuningResult& way : (*model)->info()->tuning) {
    EXPECT_EQ(way.batch_size, 1);
    // No more of times: a neighbour on the machine may hold one of two slices up.
    EXPECT_GT(way.rows_per_second, 0);
    EXPECT_GT(way.call_seconds, 0);
  }
}

TEST(TuningTest, NeverDecidesWithBatchInvariance) {
  std::string id;
  for (int start = 0; start < 2; ++start) {
    const auto model = ServeTestModel("convolutions", {.max_batch_rows = 4,
                                                       .batch_invariant = true,
                                                       .replicas = 0,
                                                       .threads = 0,
                                                       .cores = 2,
                                                       .tune_seconds = 5});
    ASSERT_TRUE(model.ok()) << model.status();
    const ModelInfo& info = *(*model)->info();
    EXPECT_EQ(info.tuning.size(), 1u);
    EXPECT_EQ(info.replicas, 2);
    EXPECT_EQ(info.layout, "channels_last");
    if (start == 0) id = info.numerics_id;
    EXPECT_EQ(info.numerics_id, id);
  }
}

TEST(TuningTest, IsTakenFromTheCache) {
  const std::string path =
      (std::filesystem::temp_directory_path() / absl::StrCat("tuned_", getpid(), ".json")).string();
  const TuningCache cache(path);
  LoadOptions options = {
      .replicas = 0, .threads = 0, .cores = 2, .tune_seconds = 0.1, .tuning_cache = &cache};
  const auto first = ServeTestModel("convolutions", options);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE((*first)->warnings().empty());
  options.tune_seconds = 0;  // what is known is used, and nothing measured
  const auto second = ServeTestModel("convolutions", options);
  ASSERT_TRUE(second.ok()) << second.status();
  const ModelInfo &a = *(*first)->info(), &b = *(*second)->info();
  ASSERT_EQ(a.tuning.size(), b.tuning.size());
  for (size_t i = 0; i < a.tuning.size(); ++i) {
    EXPECT_EQ(a.tuning[i].rows_per_second, b.tuning[i].rows_per_second);
  }
  EXPECT_EQ(a.denoiser_seconds, b.denoiser_seconds);
  EXPECT_EQ(a.numerics_id, b.numerics_id);
  EXPECT_TRUE((*second)->report().times.empty());

  // Another machine, so to speak.
  options.cores = 1;
  EXPECT_EQ((*ServeTestModel("convolutions", options))->info()->tuning.size(), 1u);
  std::filesystem::resize_file(path, 100);
  const auto damaged = ServeTestModel("convolutions", options);
  ASSERT_TRUE(damaged.ok()) << damaged.status();
  ASSERT_EQ((*damaged)->warnings().size(), 1u);
  EXPECT_THAT((*damaged)->warnings()[0], HasSubstr(path));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace denoise
