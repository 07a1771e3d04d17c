#include "server/model/folder/package_metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

PackageHost Zen5() {
  return {"x86_64",
          {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "avx512f", "avx512bw",
           "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"},
          "2.13.0"};
}

PackageHost WithoutAvx512() {
  PackageHost host = Zen5();
  for (const char* feature :
       {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"}) {
    host.features.erase(feature);
  }
  return host;
}

ModelInfo Digits() {
  ModelInfo model;
  model.shape = {1, 28, 28};
  model.num_classes = 10;
  ModelInput labels;
  labels.kind = ModelInput::Kind::kClassLabels;
  labels.type = ElementType::kInt64;
  model.inputs = {labels};
  return model;
}

PackageMetadata Good() {
  return {{"AOTI_DEVICE_KEY", "cpu"},
          {"AOTI_PLATFORM", "linux"},
          {"AOTI_MACHINE", "x86_64"},
          {"AOTI_CPU_ISA", "AVX512 AVX512_VNNI"},
          {"denoise_signature", "float32 [N, 1, 28, 28], float32 [N], int64 [N]"},
          {"denoise_max_rows", "64"},
          {"denoise_precision", "float32"},
          {"denoise_torch", "2.13.0"}};
}

PackageMetadata With(const char* key, const char* value) {
  PackageMetadata metadata = Good();
  metadata[key] = value;
  return metadata;
}

// One line with all of these in it.
void ExpectRefused(const PackageMetadata& metadata, const PackageHost& host, const char* reason,
                   const char* fix) {
  const auto traits = CheckPackage(metadata, host, Digits());
  ASSERT_FALSE(traits.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(traits.status()));
  EXPECT_THAT(
      std::string(traits.status().message()),
      AllOf(HasSubstr("denoiser.pt2: "), HasSubstr(reason), HasSubstr(fix), Not(HasSubstr("\n"))));
}

TEST(PackageMetadataTest, SaysHowThePackageMayBeCalled) {
  auto traits = CheckPackage(Good(), Zen5(), Digits());
  ASSERT_TRUE(traits.ok()) << traits.status();
  EXPECT_EQ(traits->max_rows, 64);
  EXPECT_FALSE(traits->integer_time);
  EXPECT_FALSE(traits->bfloat16);

  traits = CheckPackage(With("denoise_precision", "bfloat16"), Zen5(), Digits());
  ASSERT_TRUE(traits.ok()) << traits.status();
  EXPECT_TRUE(traits->bfloat16);

  traits = CheckPackage(With("denoise_signature", "float32 [N, 1, 28, 28], int64 [N], int64 [N]"),
                        Zen5(), Digits());
  ASSERT_TRUE(traits.ok()) << traits.status();
  EXPECT_TRUE(traits->integer_time);
}

TEST(PackageMetadataTest, TakesAPatchOfTheSameReleaseAndAnInstructionSetBelow) {
  EXPECT_TRUE(CheckPackage(With("denoise_torch", "2.13.1"), Zen5(), Digits()).ok());
  EXPECT_TRUE(CheckPackage(With("AOTI_CPU_ISA", "AVX2"), Zen5(), Digits()).ok());
  EXPECT_TRUE(CheckPackage(With("AOTI_CPU_ISA", "AVX2"), WithoutAvx512(), Digits()).ok());
}

TEST(PackageMetadataTest, RefusesInstructionsThatTheCpuDoesNotHave) {
  ExpectRefused(Good(), WithoutAvx512(), "no avx512f, avx512bw, avx512cd, avx512dq, avx512vl",
                "--isa avx2");
  ExpectRefused(With("AOTI_CPU_ISA", "AVX512 AVX512_VNNI AMX_TILE"), Zen5(),
                "no amx_tile, amx_bf16, amx_int8", "--executor torchscript");
  // Nothing can be said about what is not known.
  ExpectRefused(With("AOTI_CPU_ISA", "AVX512 AVX10_2"), Zen5(), "does not know AVX10_2",
                "export it");
  ExpectRefused(With("AOTI_CPU_ISA", ""), Zen5(), "does not say for which instruction set",
                "export it");
  PackageHost nothing = Zen5();
  nothing.features.clear();
  ExpectRefused(With("AOTI_CPU_ISA", "AVX2"), nothing, "no avx, avx2", "--isa avx2");
}

TEST(PackageMetadataTest, RefusesAnotherMachineDeviceOrRelease) {
  ExpectRefused(With("AOTI_MACHINE", "aarch64"), Zen5(),
                "is compiled for aarch64 with linux, and this is x86_64", "export it on a machine");
  ExpectRefused(With("AOTI_PLATFORM", "win32"), Zen5(), "with win32", "export it on a machine");
  ExpectRefused(With("AOTI_DEVICE_KEY", "cuda"), Zen5(), "for the device cuda",
                "--executor torchscript");
  for (const char* version : {"2.12.1", "2.1.0", "3.13.0", ""}) {
    ExpectRefused(With("denoise_torch", version), Zen5(), "this server has LibTorch 2.13.0",
                  "export it with PyTorch 2.13");
  }
}

TEST(PackageMetadataTest, RefusesAnotherSignature) {
  for (const char* signature :
       {"float32 [N, 1, 28, 32], float32 [N], int64 [N]", "float32 [N, 1, 28, 28], float32 [N]",
        "float32 [N, 1, 28, 28], float32 [N], float32 [N]"}) {
    ExpectRefused(With("denoise_signature", signature), Zen5(), signature,
                  "model.json means (float32 [N, 1, 28, 28], float32 [N], int64 [N])");
  }
}

TEST(PackageMetadataTest, RefusesWhatDoesNotSayHowItMayBeCalled) {
  for (const char* key : {"denoise_signature", "denoise_max_rows", "denoise_precision"}) {
    ExpectRefused(With(key, ""), Zen5(), "does not say how it may be called",
                  "models/export_aotinductor.py");
  }
  for (const char* rows : {"-1", "15", "many", "99999999999999999999"}) {
    ExpectRefused(With("denoise_max_rows", rows), Zen5(), "does not say how", "export it");
  }
  ExpectRefused(With("denoise_precision", "int8"), Zen5(), "does not say how", "export it");
  ExpectRefused({}, Zen5(), "does not say how", "export it");
}

TEST(PackageMetadataTest, ReadsFeaturesOfTheFirstProcessor) {
  EXPECT_THAT(FeaturesOf("processor\t: 0\nflags\t\t: fpu avx2\n\nflags\t\t: sse\n"),
              ElementsAre("avx2", "fpu"));
  EXPECT_THAT(FeaturesOf("vmx flags\t: vnmi\n"), IsEmpty());
  EXPECT_THAT(FeaturesOf(""), IsEmpty());
}

}  // namespace
}  // namespace denoise
