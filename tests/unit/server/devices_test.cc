#include "server/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What is on a machine: so many CUDA devices, and nothing else.
std::function<Accelerators(absl::string_view)> With(const Accelerators& cuda) {
  return [cuda](absl::string_view kind) { return kind == "cuda" ? cuda : Accelerators(); };
}
const Accelerators kNotBuilt;
const Accelerators kNoDriver = {.built = true, .why_none = "Found no NVIDIA driver"};
const Accelerators kTwo = {.built = true, .count = 2, .why_none = ""};

TEST(ParseDevicesTest, ReadsTheCpuWithAndWithoutReplicas) {
  EXPECT_EQ(ParseDevices("cpu")->cpu_replicas, 0);
  EXPECT_THAT(ParseDevices("cpu")->accelerators, IsEmpty());
  EXPECT_EQ(ParseDevices("cpu:12")->cpu_replicas, 12);
}

TEST(ParseDevicesTest, ReadsAccelerators) {
  EXPECT_THAT(ParseDevices("cuda:0")->accelerators, ElementsAre("cuda:0"));
  EXPECT_THAT(ParseDevices("cuda:1,cuda:0")->accelerators, ElementsAre("cuda:1", "cuda:0"));
  EXPECT_THAT(ParseDevices("xpu:3")->accelerators, ElementsAre("xpu:3"));
  EXPECT_FALSE(ParseDevices("cuda:0")->all);
  EXPECT_TRUE(ParseDevices("all")->all);
}

TEST(ParseDevicesTest, NamesWhatIsWrittenOtherwise) {
  for (const char* text : {"", "cuda", "tpu", "cpu:0", "cpu:x", "cpu:-1", "cuda:01", "cuda:0,",
                           "cuda:0 cuda:1", "CUDA:0", "cuda:9999", "cuda:0,,cuda:1"}) {
    const auto devices = ParseDevices(text);
    EXPECT_EQ(devices.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(devices.status().message(),
                AllOf(HasSubstr(std::string("'") + text + "'"), HasSubstr("write cpu")));
  }
}

TEST(ParseDevicesTest, RefusesADeviceTwice) {
  EXPECT_THAT(ParseDevices("cuda:0,cuda:1,cuda:0").status().message(), HasSubstr("cuda:0 twice"));
}

TEST(ParseDevicesTest, RefusesKindsMixed) {
  for (const char* text : {"cpu,cuda:0", "cuda:0,cpu:2", "cuda:0,all"}) {
    EXPECT_THAT(ParseDevices(text).status().message(), HasSubstr("write it alone")) << text;
  }
  EXPECT_THAT(ParseDevices("cuda:0,xpu:0").status().message(), HasSubstr("mixes kinds"));
}

TEST(FindDevicesTest, NeedsNothingOfAnAcceleratorForTheCpu) {
  const auto devices = FindDevices("cpu:2", [](absl::string_view) -> Accelerators {
    ADD_FAILURE() << "asked the driver";
    return {};
  });
  EXPECT_EQ(devices->cpu_replicas, 2);
  EXPECT_EQ(devices->label(0), "cpu:0");
  EXPECT_EQ(devices->label(1), "cpu:1");
}

TEST(FindDevicesTest, TakesThoseThatAreThere) {
  const auto devices = FindDevices("cuda:1,cuda:0", With(kTwo));
  ASSERT_TRUE(devices.ok()) << devices.status();
  EXPECT_EQ(devices->label(0), "cuda:1");
  EXPECT_EQ(devices->label(1), "cuda:0");
}

TEST(FindDevicesTest, SaysThatLibTorchIsBuiltWithout) {
  const absl::Status status = FindDevices("cuda:0", With(kNotBuilt)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("--devices: cuda:0: "),
                                      HasSubstr("built without cuda"), HasSubstr("docs/cuda.md")));
  EXPECT_THAT(FindDevices("tpu:0", With(kTwo)).status().message(), HasSubstr("without tpu"));
}

TEST(FindDevicesTest, SaysThatThereIsNoDriver) {
  const absl::Status status = FindDevices("cuda:0", With(kNoDriver)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("cuda:0: "), HasSubstr("Found no NVIDIA driver"),
                                      HasSubstr("install its driver")));
}

TEST(FindDevicesTest, SaysHowManyThereAre) {
  EXPECT_THAT(FindDevices("cuda:0,cuda:2", With(kTwo)).status().message(),
              AllOf(HasSubstr("cuda:2: "), HasSubstr("there are 2, cuda:0 to cuda:1")));
  EXPECT_THAT(
      FindDevices("cuda:1", With({.built = true, .count = 1, .why_none = ""})).status().message(),
      HasSubstr("there is one, cuda:0"));
}

TEST(FindDevicesTest, AllAreThoseThereOrTheCpu) {
  EXPECT_THAT(FindDevices("all", With(kTwo))->accelerators, ElementsAre("cuda:0", "cuda:1"));
  EXPECT_THAT(FindDevices("all", With(kNotBuilt))->accelerators, IsEmpty());
  EXPECT_THAT(FindDevices("all", With(kNoDriver))->accelerators, IsEmpty());
  EXPECT_FALSE(FindDevices("all", With(kNoDriver))->all);
}

TEST(FindDevicesTest, NamesTheFlagInErrorsOfForm) {
  EXPECT_THAT(FindDevices("gpu", With(kTwo)).status().message(), HasSubstr("--devices: 'gpu'"));
}

TEST(FindAcceleratorsTest, KnowsTheKindsOfThisLibTorch) {
  EXPECT_FALSE(FindAccelerators("tpu").built);
  EXPECT_FALSE(FindAccelerators("cpu").built);
  EXPECT_FALSE(FindAccelerators("meta").built);
  const Accelerators cuda = FindAccelerators("cuda");
  // One of the three: built without, none there and the reason, or some.
  EXPECT_EQ(cuda.built && cuda.count == 0, !cuda.why_none.empty());
  EXPECT_TRUE(cuda.built || cuda.count == 0);
}

}  // namespace
}  // namespace denoise
