#include "client/cli/pictures/input_files.h"

#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/pictures/npy.h"
#include "client/cli/pictures/picture.h"
#include "tests/unit/client/cli/cli_fixture.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// With a model of [1, 2, 3] in -1..1.
class InputFilesTest : public CommandTest {
 protected:
  std::string Write(const char* name, const std::string& bytes) {
    EXPECT_TRUE(WriteFile(Path(name), bytes).ok());
    return Path(name);
  }
  static std::string Message(const absl::Status& status) { return std::string(status.message()); }
};

TEST_F(InputFilesTest, SamplesOfSeveralFiles) {
  const auto samples = ReadSamples(
      "--image",
      {Write("a.png", EncodePng({3, 2, 1, {0, 255, 0, 255, 0, 255}})),
       Write("b.npy", EncodeNpy({{2, 1, 2, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}))},
      model_);
  ASSERT_TRUE(samples.ok()) << samples.status();
  EXPECT_THAT(samples->shape, ElementsAre(3, 1, 2, 3));
  EXPECT_THAT(samples->values,
              ElementsAre(-1, 1, -1, 1, -1, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
}

TEST_F(InputFilesTest, AColourPictureIsTurnedToTheModelsChannels) {
  model_.sample_shape = {3, 1, 1};
  model_.value_min = 0;
  const auto grey = ReadSamples("x", {Write("g.png", EncodePng({1, 1, 1, {255}}))}, model_);
  ASSERT_TRUE(grey.ok()) << grey.status();
  EXPECT_THAT(grey->values, ElementsAre(1, 1, 1));
  const auto red = ReadSamples("x", {Write("r.png", EncodePng({1, 1, 3, {255, 0, 0}}))}, model_);
  ASSERT_TRUE(red.ok()) << red.status();
  EXPECT_THAT(red->values, ElementsAre(1, 0, 0)) << "channel by channel, in the model's range";
}

TEST_F(InputFilesTest, SamplesThatDoNotFit) {
  const auto tall =
      ReadSamples("--image", {Write("tall.png", EncodePng({2, 3, 1, {0, 0, 0, 0, 0, 0}}))}, model_);
  EXPECT_TRUE(absl::IsInvalidArgument(tall.status()));
  EXPECT_THAT(Message(tall.status()), HasSubstr("it is 2x3, and samples of 'digits' are 3x2"));
  const auto other = ReadSamples("--image", {Write("o.npy", EncodeNpy({{3}, {0, 0, 0}}))}, model_);
  EXPECT_THAT(Message(other.status()), HasSubstr("[3], and samples of 'digits' are [1, 2, 3]"));
  const auto none = ReadSamples("--image", {Path("none.png")}, model_);
  EXPECT_TRUE(absl::IsNotFound(none.status()));
  EXPECT_EQ(InputExitCode(none.status()), EX_NOINPUT);
  EXPECT_EQ(InputExitCode(tall.status()), EX_DATAERR);
  model_.sample_shape = {4, 2, 3};
  const auto channels =
      ReadSamples("--image", {Write("c.png", EncodePng({3, 2, 1, {0, 0, 0, 0, 0, 0}}))}, model_);
  EXPECT_THAT(Message(channels.status()), HasSubstr("4 channels, and pictures 1 or 3"));
}

TEST_F(InputFilesTest, AMaskOfAPicture) {
  model_.sample_shape = {4, 2, 3};  // of any number of channels
  model_.value_min = -7;            // and of any range
  const auto mask =
      ReadMask("--mask", Write("m.png", EncodePng({3, 2, 1, {255, 0, 51, 0, 0, 255}})), model_);
  ASSERT_TRUE(mask.ok()) << mask.status();
  EXPECT_THAT(mask->shape, ElementsAre(1, 1, 2, 3));
  EXPECT_THAT(mask->values, ElementsAre(1, 0, 0.2f, 0, 0, 1));
}

TEST_F(InputFilesTest, AMaskOfNumbers) {
  const auto bools = ReadMask(
      "--mask", Write("b.npy", NpyFile("|b1", "(2, 3)", std::string("\1\0\0\0\0\1", 6))), model_);
  ASSERT_TRUE(bools.ok()) << bools.status();
  EXPECT_THAT(bools->shape, ElementsAre(1, 1, 2, 3));
  EXPECT_THAT(bools->values, ElementsAre(1, 0, 0, 0, 0, 1));

  model_.sample_shape = {3, 1, 2};
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{2, 3, 1, 2}, {6, 1, 1, 2}, {1, 1, 2}, {3, 1, 2}}) {
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    const Tensor tensor{shape, std::vector<float>(count, 0.5f)};
    const auto mask = ReadMask("--mask", Write("f.npy", EncodeNpy(tensor)), model_);
    ASSERT_TRUE(mask.ok()) << mask.status();
    EXPECT_EQ(mask->shape.size(), 4u);
    EXPECT_EQ(mask->values, tensor.values);
  }
}

TEST_F(InputFilesTest, MasksThatDoNotFit) {
  model_.sample_shape = {3, 2, 3};
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{3, 2}, {2, 2, 3}, {1, 2, 2, 3}, {1, 1, 1, 2, 3}, {6}}) {
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    const Tensor tensor{shape, std::vector<float>(count)};
    const auto mask = ReadMask("--mask", Write("f.npy", EncodeNpy(tensor)), model_);
    EXPECT_TRUE(absl::IsInvalidArgument(mask.status())) << mask.status();
    EXPECT_THAT(Message(mask.status()), HasSubstr("is [2, 3] or [1 or n, 1 or 3, 2, 3]"));
  }
}

TEST_F(InputFilesTest, ArraysByName) {
  const auto arrays = ReadArrays(
      "--condition", {{"tokens", Write("t.npy", NpyFile("<i8", "(1,)", std::string(8, '\0')))},
                      {"embedding", Write("e.npy", EncodeNpy({{1, 2}, {1, 2}}))}});
  ASSERT_TRUE(arrays.ok()) << arrays.status();
  EXPECT_EQ(arrays->size(), 2u);
  EXPECT_EQ(arrays->at("tokens").dtype(), DataType::kInt64);
  EXPECT_THAT(arrays->at("embedding").shape, ElementsAre(1, 2));
  EXPECT_TRUE(absl::IsNotFound(ReadArrays("x", {{"a", Path("none.npy")}}).status()));
}

}  // namespace
}  // namespace denoise::cli
