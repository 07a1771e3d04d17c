// What is served and what is refused, by models that have one thing wrong with them each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>

#include "tests/unit/model/served_test_model.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Name of the model, what its refusal must say about the reason, and about the fix.
class RefusalTest
    : public ::testing::TestWithParam<std::tuple<const char*, const char*, const char*>> {};

TEST_P(RefusalTest, GivesTheReasonAndTheMendInOneLine) {
  const auto& [name, reason, fix] = GetParam();
  const auto model = ServeTestModel(name);
  ASSERT_FALSE(model.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(model.status())) << model.status();
  EXPECT_THAT(std::string(model.status().message()),
              AllOf(HasSubstr(name), HasSubstr(reason), HasSubstr(fix), Not(HasSubstr("\n"))));
}

INSTANTIATE_TEST_SUITE_P(
    Models, RefusalTest,
    ::testing::Values(
        std::tuple("time_baked_in", "t is ignored (t = 0, 499 and 999",
                   "trace with a tensor of shape [N]"),
        std::tuple("batch_norm_training", "changes by", "BatchNorm in training mode"),
        std::tuple("dropout", "two equal calls gave different answers", "call eval()"),
        std::tuple("wrong_channels", "answers [3, 3, 8, 8]", "[3, 1 or 2, 8, 8]"),
        std::tuple("not_finite", "not finite", "division by zero"),
        std::tuple("first_time", "t is not honoured row by row", "every element of t"),
        std::tuple("first_label", "y is not honoured row by row", "every element of y"),
        std::tuple("no_label_used", "y is ignored", "take num_classes out"),
        std::tuple("two_arguments", "takes 2 arguments", "change num_classes"),
        std::tuple("three_arguments", "takes 3 arguments", "change num_classes"),
        std::tuple("list", "answered a GenericList", "a tuple that begins with one"),
        std::tuple("integers", "answers Long", "add .float()"),
        std::tuple("random", "two equal calls gave different answers", "draws random numbers"),
        std::tuple("first_text", "text: not honoured row by row", "every row of its conditions"),
        std::tuple("no_text_used", "text: ignored", "take it out of model.json's inputs"),
        std::tuple("fixed_text", "text [7, 3]", "conditions as model.json's inputs say"),
        std::tuple("float16_fourier", "its weights being float16", "export it in float32"),
        std::tuple("complex", "its weights are ComplexFloat", "export it in float32"),
        std::tuple("raises", "forward failed for 1 row of [1, 8, 8], t = 0, y = 0 (never works)",
                   "it must take x [N,C,H,W] float32"),
        std::tuple("batch_baked_in", "forward failed for 3 rows", "for any N"),
        std::tuple("few_classes", "y = 0, 9 (index out of range", "every class of model.json"),
        std::tuple("no_variance", "variance_type learned_range, which needs 2",
                   "correct variance_type")),
    [](const auto& info) { return std::string(std::get<0>(info.param)); });

class AnswerTest : public ::testing::TestWithParam<const char*> {};

TEST_P(AnswerTest, IsTakenInThisForm) {
  const auto model = ServeTestModel(GetParam());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->MakeExecutor().ok());
}

INSTANTIATE_TEST_SUITE_P(Models, AnswerTest,
                         ::testing::Values("traced", "tuple", "dict", "double", "float16",
                                           "bfloat16", "float64", "conditioned",
                                           "scripted_batch_norm", "scripted_dropout"),
                         [](const auto& info) { return std::string(info.param); });

TEST(ExaminationTest, FindsOutAboutTheModel) {
  const auto model = ServeTestModel("formula");
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelInfo& info = *(*model)->info();
  EXPECT_EQ(info.name, "formula");
  EXPECT_FALSE(info.learned_variance);
  EXPECT_FALSE(info.integer_time);
  EXPECT_EQ(info.layout, "contiguous");  // nothing to be gained without convolutions
  ASSERT_GE(info.batch_sizes.size(), 2u);
  EXPECT_EQ(info.batch_sizes.front(), 1);
  ASSERT_EQ(info.denoiser_seconds.size(), info.batch_sizes.size());
  for (const double seconds : info.denoiser_seconds) EXPECT_GT(seconds, 0);
}

TEST(ExaminationTest, FindsLearnedVariance) {
  const auto model = ServeTestModel("learned_variance");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->info()->learned_variance);
}

// The result of a test in a model's report.
std::string ResultOf(const ServedModel& model, absl::string_view test) {
  for (const TestResult& each : model.report().tests) {
    if (each.test == test) return each.result;
  }
  return "";
}

TEST(ExaminationTest, SaysThatVarianceChannelsAreLeftOut) {
  const auto model = ServeTestModel("variance_left_out");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->info()->learned_variance);
  EXPECT_THAT(ResultOf(**model, "answer"), HasSubstr("left out, as variance_type is fixed_small"));
}

TEST(ExaminationTest, FindsThePrecision) {
  for (const char* name : {"float32", "float16", "bfloat16", "float64"}) {
    const auto model = ServeTestModel(name);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->info()->precision, name);
    EXPECT_EQ((*model)->info()->layout, "channels_last") << name;
  }
}

TEST(ExaminationTest, ReportsItsTests) {
  const auto model = ServeTestModel("conditioned");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(ResultOf(**model, "equal calls"), "equal answers, bit for bit");
  EXPECT_THAT(ResultOf(**model, "rows of a batch"), HasSubstr("independent"));
  for (const char* test : {"t", "y", "conditions", "of another extent"}) {
    EXPECT_EQ(ResultOf(**model, test), "honoured row by row") << test;
  }
  EXPECT_EQ(ResultOf(**model, "answer"), "2 channels");
  EXPECT_FALSE((*model)->report().times.empty());
  EXPECT_TRUE((*model)->report().agreement.empty());
}

TEST(ExaminationTest, ReportsWhatWentWellUntilSomethingDidNot) {
  PrepareProcess();
  PrepareEngineThread(1);
  const auto model = ServedModel::Load({.path = TestModelFolder("first_text")}, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE((*model)->Examine().ok());
  EXPECT_EQ(ResultOf(**model, "t"), "honoured row by row");
  EXPECT_EQ(ResultOf(**model, "conditions"), "");
}

TEST(ExaminationTest, FindsThatTimeMustBeWhole) {
  const auto model = ServeTestModel("integer_time");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->info()->integer_time);
}

TEST(ExaminationTest, ChoosesTheLayoutOfConvolutions) {
  EXPECT_EQ((*ServeTestModel("convolutions"))->info()->layout, "channels_last");
  EXPECT_EQ((*ServeTestModel("convolutions", {.layout = "contiguous"}))->info()->layout,
            "contiguous");
  EXPECT_THAT(std::string(ServeTestModel("convolutions", {.layout = "best"}).status().message()),
              HasSubstr("--layout: best is not one of auto, contiguous, channels_last"));
}

TEST(ExaminationTest, RunsTheBatchSizesThatTheOperatorWants) {
  const auto model = ServeTestModel("formula", {.batch_sizes = {2, 6}});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->info()->batch_sizes, ::testing::ElementsAre(2, 6));
}

// A copy of a model whose denoiser.pt has been cut to `size` bytes.
std::string CutModel(const std::string& name, uintmax_t size) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(::testing::TempDir()) / name;
  fs::remove_all(folder);
  fs::copy(TestModelFolder("formula"), folder);
  fs::resize_file(folder / "denoiser.pt", size);
  return folder.string();
}

TEST(LoadTest, RefusesAFileThatIsNotWhole) {
  PrepareProcess();
  for (const uintmax_t size : {1, 100, 2000}) {
    const auto model = ServedModel::Load({.path = CutModel("cut", size)}, {});
    ASSERT_TRUE(absl::IsInvalidArgument(model.status())) << size << model.status();
    EXPECT_THAT(std::string(model.status().message()),
                AllOf(HasSubstr("cut: denoiser.pt is no TorchScript module"),
                      HasSubstr("copy it whole"), Not(HasSubstr("miniz")), Not(HasSubstr("\n"))));
  }
}

TEST(LoadTest, RefusesAFileWithBytesChanged) {
  PrepareProcess();
  const std::string folder = CutModel("changed", 2500);
  std::ofstream(folder + "/denoiser.pt", std::ios::binary) << std::string(2500, 'x');
  EXPECT_THAT(std::string(ServedModel::Load({.path = folder}, {}).status().message()),
              HasSubstr("denoiser.pt is no TorchScript module"));
}

}  // namespace
}  // namespace denoise
