// Packages that make_packages.py has written, right and wrong, served or refused.
#include "server/model/denoiser/aotinductor_denoiser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "server/model/denoiser/load_denoiser.h"
#include "tests/unit/model/chain/executor_fixture.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;

constexpr int64_t kMaxRows = 24;  // of make_packages.py

LoadOptions WithExecutor(const char* executor) {
  LoadOptions options;
  options.executor = executor;
  return options;
}

std::unique_ptr<Denoiser> LoadGood(absl::string_view executor, int callers = 1) {
  PrepareProcess();
  const auto files = LoadModelFolder({TestModelFolder("package_good")});
  if (!files.ok()) {
    ADD_FAILURE() << files.status();
    return nullptr;
  }
  auto denoiser = LoadDenoiser(files->denoisers, files->info, executor, Layout::kContiguous,
                               c10::kCPU, callers);
  EXPECT_TRUE(denoiser.ok()) << denoiser.status();
  return denoiser.ok() ? *std::move(denoiser) : nullptr;
}

// N rows that differ.
struct Inputs {
  explicit Inputs(int64_t rows)
      : x(at::randn({rows, 3, 8, 8})),
        t(at::arange(rows, at::kFloat) * 31),
        y(at::arange(rows, at::kLong) % 11) {}
  at::Tensor x, t, y;
};

absl::StatusOr<at::Tensor> Call(const Denoiser& denoiser, const Inputs& in) {
  const at::Tensor further[] = {in.y};
  return denoiser.Run(in.x, in.t, further);
}

double Apart(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

// Name of the package, and what its refusal must say about reason and fix.
class PackageRefusalTest
    : public ::testing::TestWithParam<std::tuple<const char*, const char*, const char*>> {};

TEST_P(PackageRefusalTest, GivesTheReasonAndTheMendInOneLine) {
  const auto& [name, reason, fix] = GetParam();
  const auto model = ServeTestModel(name, WithExecutor("aotinductor"));
  ASSERT_FALSE(model.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(model.status())) << model.status();
  EXPECT_THAT(std::string(model.status().message()),
              AllOf(HasSubstr(absl::StrCat("/", name, ": denoiser.pt2")), HasSubstr(reason),
                    HasSubstr(fix), Not(HasSubstr("\n"))));
}

INSTANTIATE_TEST_SUITE_P(
    Packages, PackageRefusalTest,
    ::testing::Values(
        std::tuple("package_truncated", "its sha256 is", "copy the model again"),
        std::tuple("package_empty", "is empty", "export it again"),
        std::tuple("package_without_hash", "model.json has no sha256_pt2",
                   "models/export_aotinductor.py"),
        std::tuple("package_garbage", "cannot be loaded", "models/export_aotinductor.py"),
        std::tuple("package_another_shape", "compiled for (float32 [N, 3, 8, 8]",
                   "export it again"),
        std::tuple("package_another_signature",
                   "model.json means (float32 [N, 3, 8, 8], float32 [N])", "export it again"),
        std::tuple("package_another_isa", "does not know AVX10_2", "--executor torchscript"),
        std::tuple("package_without_isa", "does not say for which instruction set", "export it"),
        std::tuple("package_another_machine", "compiled for aarch64", "export it on a machine"),
        std::tuple("package_cuda", "for the device cuda", "--executor torchscript"),
        std::tuple("package_another_torch", "compiled with PyTorch 2.6.0",
                   "export it with PyTorch"),
        std::tuple("package_unknown", "does not say how it may be called", "export_aotinductor.py"),
        std::tuple("package_other_weights", "more than rounding explains", "export it again")));

TEST(AotInductorDenoiserTest, AnswersAsTorchScriptDoesAtEveryBatchSize) {
  const auto package = LoadGood("aotinductor");
  const auto script = LoadGood("torchscript");
  ASSERT_TRUE(package && script);
  EXPECT_EQ(package->executor(), "aotinductor");
  EXPECT_EQ(package->dtype(), at::kFloat);
  EXPECT_EQ(package->max_rows(), kMaxRows);
  for (int64_t rows = 1; rows <= kMaxRows; ++rows) {
    const Inputs in(rows);
    const auto a = Call(*package, in);
    const auto b = Call(*script, in);
    ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
    EXPECT_LE(Apart(*a, *b), 1e-5) << rows;
  }
}

TEST(AotInductorDenoiserTest, TakesWholeTimesToo) {
  const auto package = LoadGood("aotinductor");
  ASSERT_TRUE(package);
  Inputs in(4);
  const auto of_float = Call(*package, in);
  in.t = in.t.to(at::kLong);
  const auto of_integer = Call(*package, in);
  ASSERT_TRUE(of_float.ok() && of_integer.ok());
  EXPECT_TRUE(of_float->equal(*of_integer));
}

// The package's code would read past the end of such tensors.
TEST(AotInductorDenoiserTest, RefusesWhatItWasNotCompiledFor) {
  const auto package = LoadGood("aotinductor");
  ASSERT_TRUE(package);
  std::vector<std::pair<Inputs, const char*>> wrong;
  const auto add = [&wrong](const char* message, int64_t rows = 2) -> Inputs& {
    return wrong.emplace_back(Inputs(rows), message).first;
  };
  add("1 to 24 rows, not 25", kMaxRows + 1);
  add("1 to 24 rows, not 0").x = at::zeros({0, 3, 8, 8});
  add("x is Float [2, 3, 8, 9]").x = at::zeros({2, 3, 8, 9});
  add("x is Float [2, 3, 4, 16]").x = at::zeros({2, 3, 4, 16});
  add("x is Double").x = at::zeros({2, 3, 8, 8}, at::kDouble);
  add("with strides [192, 1, 24, 3]").x =
      EmptyInput({2, 3, 8, 8}, Layout::kChannelsLast, c10::kCPU).zero_();
  add("t is Float [1]").t = at::zeros({1});
  add("t is Double").t = at::zeros({2}, at::kDouble);
  add("class_labels is Int").y = at::zeros({2}, at::kInt);
  add("class_labels is Long [3]").y = at::zeros({3}, at::kLong);
  for (const auto& [in, message] : wrong) {
    const auto answer = Call(*package, in);
    ASSERT_FALSE(answer.ok()) << message;
    EXPECT_TRUE(absl::IsInternal(answer.status()));
    EXPECT_THAT(std::string(answer.status().message()), HasSubstr(message));
  }
  const Inputs in(2);
  EXPECT_FALSE(package->Run(in.x, in.t, {}).ok());
}

TEST(AotInductorDenoiserTest, AnswersSeveralThreadsAtOnce) {
  constexpr int kThreads = 4;
  const auto package = LoadGood("aotinductor", kThreads / 2);  // the others wait for their turn
  ASSERT_TRUE(package);
  const Inputs in(5);
  const auto right = Call(*package, in);
  ASSERT_TRUE(right.ok());
  std::vector<int> equal(kThreads, 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int call = 0; call < 20; ++call) {
        const auto answer = Call(*package, in);
        equal[i] += answer.ok() && answer->equal(*right) ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(equal, Each(20));
}

// An archive that another tool has written.
TEST(AotInductorDenoiserTest, IsLoadedFromAnyArchive) {
  const auto model = ServeTestModel("package_rewritten", WithExecutor("aotinductor"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->info()->executor, "aotinductor");
}

TEST(AotInductorDenoiserTest, LeavesNothingBehindInTmpdir) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(::testing::TempDir()) / "aotinductor_tmpdir";
  fs::remove_all(folder);
  fs::create_directories(folder);
  setenv("TMPDIR", folder.c_str(), 1);
  auto package = LoadGood("aotinductor");
  const bool unpacked = !fs::is_empty(folder);
  package.reset();
  const bool empty = fs::is_empty(folder);
  // What is refused is not even unpacked.
  EXPECT_FALSE(ServeTestModel("package_cuda", WithExecutor("aotinductor")).ok());
  const bool still_empty = fs::is_empty(folder);
  fs::remove_all(folder);
  const auto nowhere = ServeTestModel("package_good", WithExecutor("aotinductor"));
  unsetenv("TMPDIR");
  EXPECT_TRUE(unpacked);
  EXPECT_TRUE(empty);
  EXPECT_TRUE(still_empty);
  EXPECT_THAT(std::string(nowhere.status().message()),
              AllOf(HasSubstr("denoiser.pt2 cannot be loaded"), HasSubstr("TMPDIR")));
}

TEST(ExecutorsTest, AutoIsTorchScriptWhereThereIsADenoiserPt) {
  for (const auto& [name, executor] :
       {std::pair("package_good", "torchscript"), std::pair("package_alone", "aotinductor"),
        // A package that is not used does no harm.
        std::pair("package_garbage", "torchscript"), std::pair("convolutions", "torchscript")}) {
    const auto model = ServeTestModel(name);
    ASSERT_TRUE(model.ok()) << name << model.status();
    EXPECT_EQ((*model)->info()->executor, executor) << name;
  }
}

// Beside a denoiser.pt.
TEST(ExecutorsTest, WhyAPackageIsNotUsedIsAWarning) {
  for (const auto& [name, reason, fix] :
       {std::tuple("package_garbage", "not used: denoiser.pt2 cannot be loaded",
                   "models/export_aotinductor.py"),
        std::tuple("package_of_bfloat16",
                   "not used: --precision: float32 is not that of denoiser.pt2, which was compiled "
                   "for bfloat16",
                   "export it for float32, or give --precision bfloat16"),
        std::tuple("package_other_weights", "not used: denoiser.pt2: its answers are apart by",
                   "export it again, or give --executor torchscript")}) {
    const auto model = ServeTestModel(name);
    ASSERT_TRUE(model.ok()) << name << model.status();
    EXPECT_EQ((*model)->info()->executor, "torchscript") << name;
    ASSERT_EQ((*model)->warnings().size(), 1u) << name;
    EXPECT_THAT((*model)->warnings()[0], AllOf(HasSubstr(reason), HasSubstr(fix)));
    const auto script = ServeTestModel(name, WithExecutor("torchscript"));
    ASSERT_TRUE(script.ok()) << name << script.status();
    EXPECT_TRUE((*script)->warnings().empty()) << "nobody asked for the package";
  }
  LoadOptions options;
  options.layout = "channels_last";
  const auto model = ServeTestModel("package_good", options);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ((*model)->warnings().size(), 1u);
  EXPECT_THAT((*model)->warnings()[0],
              HasSubstr("not used: --layout: channels_last is not that of denoiser.pt2"));
  EXPECT_TRUE((*ServeTestModel("package_good"))->warnings().empty());
}

TEST(ExecutorsTest, AWishThatTheFolderCannotFulfilIsRefused) {
  for (const auto& [name, executor, message] :
       {std::tuple("package_alone", "torchscript", "torchscript needs a denoiser.pt,"),
        std::tuple("convolutions", "aotinductor", "aotinductor needs a denoiser.pt2,"),
        std::tuple("convolutions", "onnx", "onnx is not one of auto, torchscript, aotinductor")}) {
    const auto model = ServeTestModel(name, WithExecutor(executor));
    ASSERT_FALSE(model.ok());
    EXPECT_THAT(std::string(model.status().message()),
                AllOf(HasSubstr("--executor: "), HasSubstr(message)));
  }
  LoadOptions options = WithExecutor("aotinductor");
  options.layout = "channels_last";
  EXPECT_THAT(std::string(ServeTestModel("package_good", options).status().message()),
              HasSubstr("--layout: channels_last is not that of denoiser.pt2"));
}

TEST(ExecutorsTest, APackageIsRunWithinItsRows) {
  LoadOptions options = WithExecutor("aotinductor");
  options.report_agreement = true;  // measures every size that there is
  const auto model = ServeTestModel("package_good", options);
  ASSERT_TRUE(model.ok()) << model.status();
  std::vector<int64_t> sizes;
  for (const BatchTime& time : (*model)->report().times) sizes.push_back(time.rows);
  EXPECT_THAT(sizes, Each(Le(kMaxRows)));
  EXPECT_EQ((*model)->report().tests.back().test, "batch sizes");

  for (LoadOptions more :
       {LoadOptions{.batch_sizes = {1, 25}}, LoadOptions{.max_batch_rows = 25}}) {
    more.executor = "aotinductor";
    EXPECT_THAT(std::string(ServeTestModel("package_good", more).status().message()),
                HasSubstr("25 is more than the 24 rows that denoiser.pt2 was compiled for"));
  }
}

TEST(ExecutorsTest, BothGiveTheSameChain) {
  std::vector<std::vector<float>> answers;
  for (const char* executor : {"torchscript", "aotinductor"}) {
    LoadOptions options = WithExecutor(executor);
    options.batch_sizes = {1, 2, 4, 8};
    Fixture f("package_good", options);
    ASSERT_TRUE(f.executor);
    const SlotId slot = f.StartAt(0.5);
    const Row row = AnswerRow(300);
    ASSERT_TRUE(f.Execute({{.slot = slot, .row = &row, .label = 3}}, 4).ok());
    answers.push_back(f.Read(slot));
  }
  for (size_t i = 0; i < answers[0].size(); ++i) EXPECT_NEAR(answers[0][i], answers[1][i], 1e-5);
}

}  // namespace
}  // namespace denoise
