#include "server/model/folder/model_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "server/model/folder/model_json.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// SHA-256 of "weights", from coreutils' sha256sum.
constexpr char kSha256[] = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";
constexpr char kShape[] = R"("sample_shape": [1, 28, 28])";

std::string Message(const absl::Status& status) { return std::string(status.message()); }

void Write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

class ModelFilesTest : public ::testing::Test {
 protected:
  ModelFilesTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(::testing::TempDir()) / "model_files" / test->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
  }

  void WriteModel(const fs::path& folder, const std::string& model_json) {
    Write(folder / "denoiser.pt", "weights");
    Write(folder / "scheduler_config.json",
          R"({"_class_name": "DDIMScheduler", "num_train_timesteps": 20})");
    Write(folder / "model.json", model_json);
  }

  fs::path root_;
};

TEST_F(ModelFilesTest, ReadsEverything) {
  WriteModel(root_ / "m", R"({
    "name": "digits", "sample_shape": [3, 28, 32], "value_range": [0, 1.5], "levels": 256,
    "num_classes": 10, "null_class": 10, "default_sampler": "ddim", "default_steps": 20,
    "default_guidance_scale": 2.5, "data": "some", "licence": "none", "colour": "blue",
    "sha256": ")" + std::string(kSha256) +
                              "\"}");
  const auto files = LoadModelFolder({.path = (root_ / "m").string(), .version = 3});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->denoisers.torchscript, (root_ / "m" / "denoiser.pt").string());
  EXPECT_THAT(files->remarks, ElementsAre("model.json: these keys were not understood: colour"));
  const ModelInfo& info = files->info;
  EXPECT_EQ(info.name, "digits");
  EXPECT_EQ(info.version, 3);
  EXPECT_EQ(info.sha256, kSha256);
  EXPECT_EQ(info.shape.channels, 3);
  EXPECT_EQ(info.shape.height, 28);
  EXPECT_EQ(info.shape.width, 32);
  EXPECT_EQ(info.value_min, 0);
  EXPECT_EQ(info.value_max, 1.5);
  EXPECT_EQ(info.num_classes, 10);
  EXPECT_EQ(info.null_class, 10);
  EXPECT_EQ(info.levels, 256);
  ASSERT_EQ(info.inputs.size(), 1u);
  EXPECT_EQ(info.inputs[0].name, "class_labels");
  EXPECT_EQ(info.inputs[0].kind, ModelInput::Kind::kClassLabels);
  EXPECT_EQ(info.inputs[0].type, ElementType::kInt64);
  EXPECT_THAT(info.inputs[0].shape, IsEmpty());
  EXPECT_EQ(info.default_sampler, SamplerKind::kDdim);
  EXPECT_EQ(info.default_steps, 20);
  EXPECT_EQ(info.default_guidance_scale, 2.5);
  EXPECT_EQ(info.config.num_train_timesteps(), 20);
  EXPECT_EQ(info.schedule.size(), 20);
}

TEST_F(ModelFilesTest, HasDefaults) {
  WriteModel(root_ / "some-model", std::string("{") + kShape + "}");
  // However the folder is written.
  for (const char* path : {"some-model", "some-model/", "some-model/."}) {
    const auto files = LoadModelFolder({.path = (root_ / path).string()});
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_EQ(files->info.name, "some-model");
    EXPECT_EQ(files->info.sha256, kSha256);
    EXPECT_EQ(files->info.num_classes, 0);
    EXPECT_EQ(files->info.levels, 0);
    EXPECT_THAT(files->info.inputs, IsEmpty());
    EXPECT_EQ(files->info.default_steps, 20);  // 50 is more than the schedule has
    EXPECT_EQ(files->info.default_guidance_scale, 1);
    EXPECT_THAT(files->remarks, IsEmpty());
  }
}

TEST_F(ModelFilesTest, RefusesAnotherHash) {
  WriteModel(root_, std::string("{") + kShape + R"(, "sha256": ")" + std::string(64, 'a') + "\"}");
  const auto files = LoadModelFolder({.path = root_.string()});
  EXPECT_TRUE(absl::IsInvalidArgument(files.status()));
  EXPECT_THAT(Message(files.status()),
              AllOf(HasSubstr(root_.string()), HasSubstr(kSha256),
                    HasSubstr("where model.json says aaaa"), HasSubstr("copy the model again")));
}

TEST_F(ModelFilesTest, RefusesAnEmptyDenoiser) {
  WriteModel(root_, std::string("{") + kShape + "}");
  Write(root_ / "denoiser.pt", "");
  EXPECT_THAT(Message(LoadModelFolder({.path = root_.string()}).status()),
              HasSubstr("denoiser.pt: is empty"));
}

TEST_F(ModelFilesTest, TakesAPackageBesideOrInstead) {
  const std::string hash(64, 'b');
  WriteModel(root_, std::string("{") + kShape + R"(, "sha256_pt2": ")" + hash + "\"}");
  Write(root_ / "denoiser.pt2", "code");
  auto files = LoadModelFolder({.path = root_.string()});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->denoisers.torchscript, (root_ / "denoiser.pt").string());
  EXPECT_EQ(files->denoisers.package, (root_ / "denoiser.pt2").string());
  EXPECT_EQ(files->info.sha256, kSha256);
  EXPECT_EQ(files->info.package_sha256, hash);
  EXPECT_THAT(files->remarks, IsEmpty());

  fs::remove(root_ / "denoiser.pt");
  files = LoadModelFolder({.path = root_.string()});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->denoisers.torchscript, "");
  EXPECT_EQ(files->info.sha256, hash);

  fs::remove(root_ / "denoiser.pt2");
  EXPECT_TRUE(absl::IsNotFound(LoadModelFolder({.path = root_.string()}).status()));
}

TEST_F(ModelFilesTest, TakesADecoderWhereThereIsOne) {
  WriteModel(root_, std::string("{") + kShape + "}");
  const auto load = [this] { return LoadModelFolder({.path = root_.string()}); };
  EXPECT_FALSE(load()->info.decoder.has_value());
  EXPECT_EQ(load()->decoder, "");

  Write(root_ / "decoder.pt", "weights");
  auto files = load();
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->decoder, (root_ / "decoder.pt").string());
  ASSERT_TRUE(files->info.decoder.has_value());
  EXPECT_EQ(files->info.decoder->sha256, kSha256);
  EXPECT_EQ(files->info.decoder->format.value_min, -1);
  EXPECT_EQ(files->info.decoder->format.value_max, 1);

  const std::string described = R"(, "decoder": {"value_range": [0, 2], "gain": 3, "sha256": ")";
  WriteModel(root_, std::string("{") + kShape + described + kSha256 + "\"}}");
  files = load();
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->info.decoder->format.value_min, 0);
  EXPECT_EQ(files->info.decoder->format.value_max, 2);
  EXPECT_THAT(files->remarks, ElementsAre(HasSubstr("not understood: decoder.gain")));

  WriteModel(root_, std::string("{") + kShape + described + std::string(64, 'a') + "\"}}");
  EXPECT_THAT(Message(load().status()),
              AllOf(HasSubstr("decoder.pt: its sha256 is"), HasSubstr("says aaaa")));
  fs::remove(root_ / "decoder.pt");
  EXPECT_TRUE(absl::IsNotFound(load().status()));
  EXPECT_THAT(Message(load().status()),
              AllOf(HasSubstr("decoder.pt: is not there"), HasSubstr("take `decoder` out")));
}

TEST_F(ModelFilesTest, NamesTheFileThatIsMissing) {
  for (const char* file : {"denoiser.pt", "scheduler_config.json", "model.json"}) {
    WriteModel(root_, std::string("{") + kShape + "}");
    fs::remove(root_ / file);
    const absl::Status status = LoadModelFolder({.path = root_.string()}).status();
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_THAT(Message(status), HasSubstr(std::string(file) + ": is not there"));
    fs::create_directory(root_ / file);  // a folder of that name is none either
    EXPECT_TRUE(absl::IsNotFound(LoadModelFolder({.path = root_.string()}).status()));
    fs::remove(root_ / file);
  }
}

TEST_F(ModelFilesTest, ReadsInputsInTheOrderOfTheArguments) {
  WriteModel(root_ / "m", std::string("{") + kShape + R"(, "num_classes": 4, "inputs": [
    {"name": "text", "kind": "condition", "dtype": "float32", "shape": [-1, 8], "null": 0.5},
    {"name": "label", "kind": "class_labels"},
    {"name": "mask", "kind": "condition", "dtype": "bool", "shape": [-1], "null": true},
    {"name": "sizes", "kind": "condition", "dtype": "int64", "shape": [2], "null": [-3, 4],
     "note": "?"},
    {"name": "image", "kind": "condition", "dtype": "float32", "shape": [1, 28, 28]},
    {"name": "weight", "kind": "condition", "dtype": "float32", "shape": []}
  ], "default_guidance_scale": 3})");
  const auto files = LoadModelFolder({.path = (root_ / "m").string()});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(files->remarks,
              ElementsAre("model.json: these keys were not understood: inputs[3].note"));
  const std::vector<ModelInput>& inputs = files->info.inputs;
  ASSERT_EQ(inputs.size(), 6u);
  EXPECT_EQ(inputs[0].name, "text");
  EXPECT_EQ(inputs[0].kind, ModelInput::Kind::kCondition);
  EXPECT_EQ(inputs[0].type, ElementType::kFloat32);
  EXPECT_THAT(inputs[0].shape, ElementsAre(-1, 8));
  EXPECT_THAT(*inputs[0].null_value, ElementsAre(0.5));
  EXPECT_EQ(inputs[1].kind, ModelInput::Kind::kClassLabels);
  EXPECT_EQ(inputs[2].type, ElementType::kBool);
  EXPECT_THAT(*inputs[2].null_value, ElementsAre(1));
  EXPECT_EQ(inputs[3].type, ElementType::kInt64);
  EXPECT_THAT(*inputs[3].null_value, ElementsAre(-3, 4));
  EXPECT_FALSE(inputs[4].null_value.has_value());
  EXPECT_THAT(inputs[5].shape, IsEmpty());
}

struct BadJson {
  const char* json;  // what follows the shape, or all where it begins with a brace or bracket
  const char* message;
};

class ModelJsonTest : public ::testing::TestWithParam<BadJson> {};

TEST_P(ModelJsonTest, RefusalNamesKeyValueAndMend) {
  const std::string given = GetParam().json;
  const std::string json = given.empty() || given[0] == '{' || given[0] == '['
                               ? given
                               : std::string("{") + kShape + ", " + given + "}";
  std::vector<std::string> ignored;
  const absl::Status status = ParseModelJson(json, 1000, &ignored).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << json;
  EXPECT_THAT(Message(status), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Bad, ModelJsonTest,
    ::testing::Values(
        BadJson{"", "is no JSON"}, BadJson{"[1]", "is no JSON object"},
        BadJson{R"({"a": 1,})", "byte 9 of 9"}, BadJson{"{}", "sample_shape is missing"},
        BadJson{R"({"sample_shape": [28, 28]})", "sample_shape: [28,28] is not [C, H, W]"},
        BadJson{R"({"sample_shape": [0, 28, 28]})", "sample_shape: [0,28,28]"},
        BadJson{R"({"sample_shape": [1.5, 28, 28]})", "sample_shape: [1.5,28,28]"},
        BadJson{R"({"sample_shape": [65536, 65536, 65536]})", "268435456 values at most"},
        BadJson{R"({"sample_shape": [1, 1, 18446744073709551615]})", "sample_shape"},
        BadJson{R"("name": "a b")", R"(name: "a b" is not 1 to 128 of)"},
        BadJson{R"("name": ".hidden")", "name"}, BadJson{R"("name": 5)", "name: 5"},
        BadJson{R"("value_range": [1, -1])", "value_range: [1,-1] is not [min, max]"},
        BadJson{R"("value_range": [0, 1e99])", "value_range"},
        BadJson{R"("value_range": 1)", "value_range: 1"},
        BadJson{R"("levels": 1)", "levels: 1 is not a whole number in 2.."},
        BadJson{R"("num_classes": -1)", "num_classes: -1"},
        BadJson{R"("num_classes": "ten")", R"(num_classes: "ten" is not a whole number)"},
        BadJson{R"("null_class": 3)", "null_class: 3 is not of use without num_classes"},
        BadJson{R"("default_sampler": "magic")", R"(default_sampler: "magic" is not one of ddpm)"},
        BadJson{R"("default_steps": 0)", "default_steps: 0 is not a whole number in 1..1000"},
        BadJson{R"("default_steps": 1001)", "default_steps: 1001"},
        BadJson{R"("num_classes": 2, "null_class": 2, "default_guidance_scale": -1)",
                "default_guidance_scale: -1 is not a number in 0..100"},
        BadJson{R"("default_guidance_scale": 2)", "name the label that means none"},
        BadJson{R"("inputs": {})", "inputs: {} is not a list of what forward takes"},
        BadJson{R"("inputs": [7])", "inputs[0]: 7 is not an object with name"},
        BadJson{R"("inputs": [{}])", "inputs[0].name is missing"},
        BadJson{R"("inputs": [{"name": "a b"}])", R"(inputs[0].name: "a b" is not)"},
        BadJson{R"("inputs": [{"name": "a"}])", "inputs[0].kind is missing"},
        BadJson{R"("inputs": [{"name": "a", "kind": "text"}])",
                R"(inputs[0].kind: "text" is not class_labels or condition)"},
        BadJson{R"("inputs": [{"name": "a", "kind": "condition"}])", "inputs[0].dtype is missing"},
        BadJson{R"("inputs": [{"name": "a", "kind": "condition", "dtype": "float16"}])",
                R"(inputs[0].dtype: "float16" is not float32, int64 or bool)"},
        BadJson{R"("inputs": [{"name": "a", "kind": "condition", "dtype": "bool"}])",
                "inputs[0].shape is missing"},
        BadJson{R"("inputs": [{"name": "a", "kind": "condition", "dtype": "bool", "shape": [0]}])",
                "inputs[0].shape: [0] is not a list of extents"},
        BadJson{
            R"("inputs": [{"name": "a", "kind": "condition", "dtype": "bool", "shape": [99999, 99999]}])",
            "268435456 elements at most"},
        BadJson{
            R"("inputs": [{"name": "a", "kind": "condition", "dtype": "bool", "shape": [2], "null": 1}])",
            "inputs[0].null: 1 is not one bool value for all elements, or a flat list of 2"},
        BadJson{
            R"("inputs": [{"name": "a", "kind": "condition", "dtype": "int64", "shape": [-1], "null": [1]}])",
            "inputs[0].null: [1] is not one int64 value for all elements, as a shape with -1"},
        BadJson{
            R"("inputs": [{"name": "a", "kind": "condition", "dtype": "int64", "shape": [2], "null": 0.5}])",
            "inputs[0].null: 0.5"},
        BadJson{
            R"("inputs": [{"name": "a", "kind": "condition", "dtype": "float32", "shape": [], "null": 1e99}])",
            "inputs[0].null"},
        BadJson{R"("inputs": [{"name": "a", "kind": "class_labels"}])",
                "without class_labels, as num_classes is not given"},
        BadJson{R"("num_classes": 3, "inputs": [])", "one input of kind class_labels"},
        BadJson{
            R"("num_classes": 3, "inputs": [{"name": "a", "kind": "class_labels", "dtype": "float32"}])",
            R"(inputs[0].dtype: "float32" is not int64)"},
        BadJson{
            R"("num_classes": 3, "inputs": [{"name": "a", "kind": "class_labels", "shape": [1]}])",
            "inputs[0].shape: [1] is not []"},
        BadJson{R"("num_classes": 3, "inputs": [{"name": "a", "kind": "class_labels", "null": 3}])",
                "say it as null_class"},
        BadJson{
            R"("num_classes": 3, "inputs": [{"name": "a", "kind": "class_labels"}, {"name": "a", "kind": "class_labels"}])",
            R"(inputs[1].name: "a" is not another one)"},
        BadJson{R"("decoder": true)", "decoder: true is not an object with value_range"},
        BadJson{R"("decoder": {"value_range": [1, 1]})", "decoder.value_range: [1,1] is not [min"},
        BadJson{R"("decoder": {"sha256": "xyz"})", R"(decoder.sha256: "xyz" is not 64)"},
        BadJson{R"("data": 7)", "data: 7 is not a text"},
        BadJson{R"("sha256": "abc")", R"(sha256: "abc" is not 64 hexadecimal digits)"}));

TEST_F(ModelFilesTest, FindsBareFoldersAndVersions) {
  WriteModel(root_ / "bare", "{}");
  WriteModel(root_ / "many" / "10", "{}");
  WriteModel(root_ / "many" / "2", "{}");
  Write(root_ / "many" / "notes" / "x.txt", "");
  WriteModel(root_ / "many" / "007", "{}");  // no version is written like that
  Write(root_ / "README", "");
  WriteModel(root_ / ".hidden", "{}");
  Write(root_ / "lost+found" / "x", "");
  const auto models = FindModels(root_.string());
  ASSERT_TRUE(models.ok()) << models.status();
  std::vector<std::string> found;
  for (const ModelFolder& model : *models) {
    found.push_back(model.name + " " + std::to_string(model.version) + " " +
                    fs::relative(model.path, root_).string());
  }
  EXPECT_THAT(found, ElementsAre("bare 1 bare", "many 2 many/2", "many 10 many/10"));
}

TEST_F(ModelFilesTest, TheRepositorysNameCounts) {
  WriteModel(root_ / "here", std::string("{") + kShape + R"(, "name": "there"})");
  const auto models = FindModels(root_.string());
  ASSERT_TRUE(models.ok()) << models.status();
  const auto files = LoadModelFolder(models->front());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->info.name, "here");
  EXPECT_THAT(files->remarks, ElementsAre(HasSubstr("the name there gives way")));
}

TEST_F(ModelFilesTest, ARepositoryMustHaveAModel) {
  EXPECT_TRUE(absl::IsNotFound(FindModels(root_.string()).status()));
  EXPECT_TRUE(absl::IsNotFound(FindModels((root_ / "none").string()).status()));
  Write(root_ / "file", "");
  EXPECT_TRUE(absl::IsNotFound(FindModels((root_ / "file").string()).status()));
}

TEST_F(ModelFilesTest, RefusesNamesAndMixtures) {
  WriteModel(root_ / "a b", "{}");
  EXPECT_THAT(Message(FindModels(root_.string()).status()), HasSubstr("cannot be a model's name"));
  fs::remove_all(root_ / "a b");
  WriteModel(root_ / "both", "{}");
  WriteModel(root_ / "both" / "1", "{}");
  EXPECT_THAT(Message(FindModels(root_.string()).status()), HasSubstr("both a model's files and"));
}

TEST_F(ModelFilesTest, FollowsNoLinkOutOfTheRepository) {
  const fs::path root = root_ / "repository";
  WriteModel(root_ / "outside", "{}");
  WriteModel(root / "inside", "{}");
  fs::create_directory_symlink("inside", root / "link");
  EXPECT_EQ(FindModels(root.string())->size(), 2u);

  const auto refuses = [&] {
    return absl::IsInvalidArgument(FindModels(root.string()).status()) &&
           Message(FindModels(root.string()).status()).find("symbolic link out of") !=
               std::string::npos;
  };
  fs::create_directory_symlink("../outside", root / "other");
  EXPECT_TRUE(refuses());
  fs::remove(root / "other");
  fs::create_directory(root / "other");
  fs::create_directory_symlink("../../outside", root / "other" / "1");
  EXPECT_TRUE(refuses());
  fs::remove_all(root / "other");
  fs::remove(root / "inside" / "denoiser.pt");
  fs::create_symlink("../../outside/denoiser.pt", root / "inside" / "denoiser.pt");
  EXPECT_TRUE(refuses());
  fs::remove(root / "inside" / "denoiser.pt");
  fs::create_symlink("../../outside/denoiser.pt", root / "inside" / "denoiser.pt2");
  EXPECT_TRUE(refuses());
}

}  // namespace
}  // namespace denoise
