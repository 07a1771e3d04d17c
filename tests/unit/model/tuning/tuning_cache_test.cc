#include "server/model/tuning/tuning_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class TuningCacheTest : public ::testing::Test {
 protected:
  TuningCacheTest() { fs::create_directories(folder_); }
  ~TuningCacheTest() override { fs::remove_all(folder_); }

  static TuningKey Key(const std::string& sha256, const std::string& cpu = "a CPU") {
    return {{"sha256", sha256}, {"cpu", cpu}};
  }

  static TunedChoice Choice(int replicas) {
    TuningResult way;
    way.executor = "torchscript";
    way.layout = "channels_last";
    way.precision = "float32";
    way.replicas = replicas;
    way.batch_size = 8;
    way.rows_per_second = 1990.5;
    way.call_seconds = 0.008;
    way.relative_error = 1e-7;
    TuningResult other = way;
    way.chosen = true;
    return {{other, way}, {{1, 0.001}, {8, 0.004}}};
  }

  void Write(const std::string& text) const { std::ofstream(path_) << text; }
  std::string Text() const {
    std::ifstream stream(path_);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  const fs::path folder_ = fs::temp_directory_path() / absl::StrCat("tuning_cache_", getpid());
  const std::string path_ = (folder_ / "cache.json").string();
  const TuningCache cache_{path_};
};

TEST_F(TuningCacheTest, GivesBackWhatItWasGiven) {
  ASSERT_TRUE(cache_.Put(Key("m"), Choice(2)).ok());
  const auto found = TuningCache(path_).Find(Key("m"));
  ASSERT_TRUE(found.ok() && found->has_value()) << found.status();
  ASSERT_EQ((*found)->ways.size(), 2u);
  const TuningResult& way = (*found)->chosen();
  EXPECT_EQ(&way, &(*found)->ways[1]);
  EXPECT_EQ(way.executor, "torchscript");
  EXPECT_EQ(way.layout, "channels_last");
  EXPECT_EQ(way.precision, "float32");
  EXPECT_EQ(way.replicas, 2);
  EXPECT_EQ(way.threads, 1);
  EXPECT_EQ(way.batch_size, 8);
  EXPECT_DOUBLE_EQ(way.rows_per_second, 1990.5);
  EXPECT_DOUBLE_EQ(way.call_seconds, 0.008);
  EXPECT_DOUBLE_EQ(way.relative_error, 1e-7);
  ASSERT_EQ((*found)->times.size(), 2u);
  EXPECT_EQ((*found)->times[1].rows, 8);
  EXPECT_DOUBLE_EQ((*found)->times[1].seconds, 0.004);
}

TEST_F(TuningCacheTest, KnowsNothingOfAnotherMachineOrModel) {
  ASSERT_TRUE(cache_.Put(Key("m"), Choice(2)).ok());
  for (const TuningKey& key : {Key("m", "another CPU"), Key("another"), TuningKey()}) {
    const auto found = cache_.Find(key);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_FALSE(found->has_value());
  }
  const auto missing = TuningCache((folder_ / "missing.json").string()).Find(Key("m"));
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_FALSE(missing->has_value());
}

TEST_F(TuningCacheTest, HoldsSeveralAndReplacesByKey) {
  ASSERT_TRUE(cache_.Put(Key("a"), Choice(1)).ok());
  ASSERT_TRUE(cache_.Put(Key("b"), Choice(2)).ok());
  ASSERT_TRUE(cache_.Put(Key("a"), Choice(3)).ok());
  EXPECT_EQ((*cache_.Find(Key("a")))->chosen().replicas, 3);
  EXPECT_EQ((*cache_.Find(Key("b")))->chosen().replicas, 2);
  const auto entries = fs::directory_iterator(folder_);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1) << "nothing is left beside it";
}

TEST_F(TuningCacheTest, ForgetsTheOldest) {
  for (int i = 0; i < 70; ++i) ASSERT_TRUE(cache_.Put(Key(absl::StrCat(i)), Choice(1)).ok());
  EXPECT_FALSE(cache_.Find(Key("5"))->has_value());
  EXPECT_TRUE(cache_.Find(Key("6"))->has_value());
  EXPECT_TRUE(cache_.Find(Key("69"))->has_value());
}

TEST_F(TuningCacheTest, AnEmptyFileIsABeginning) {
  Write("");
  EXPECT_FALSE(cache_.Find(Key("m"))->has_value());
  ASSERT_TRUE(cache_.Put(Key("m"), Choice(1)).ok());
  EXPECT_TRUE(cache_.Find(Key("m"))->has_value());
}

TEST_F(TuningCacheTest, RefusesAndKeepsWhatIsDamagedOrSomethingElse) {
  ASSERT_TRUE(cache_.Put(Key("m"), Choice(2)).ok());
  const std::string whole = Text();
  for (const std::string& text :
       {whole.substr(0, whole.size() / 2), std::string("{}"), std::string("[1, 2]"),
        std::string("not JSON"), std::string(R"({"denoised_tuning": 2, "choices": []})"),
        std::string(R"({"denoised_tuning": 1, "choices": {}})")}) {
    Write(text);
    for (const absl::Status& status :
         {cache_.Find(Key("m")).status(), cache_.Put(Key("m"), Choice(1))}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
      EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(path_), HasSubstr("delete it")));
    }
    EXPECT_EQ(Text(), text);
  }
}

TEST_F(TuningCacheTest, RefusesFiguresThatCannotBe) {
  ASSERT_TRUE(cache_.Put(Key("m"), Choice(2)).ok());
  const std::string whole = Text();
  for (const auto& [from, to] : std::initializer_list<std::pair<std::string, std::string>>{
           {"\"replicas\": 2", "\"replicas\": 0"},
           {"\"threads\": 1", "\"threads\": 100000"},
           {"\"threads\": 1", "\"threads\": \"one\""},
           {"\"chosen\": true", "\"chosen\": false"},
           {"\"chosen\": false", "\"chosen\": true"},
           {"\"rows\": 1", "\"rows\": 9"},
           {"\"rows\": 8", "\"rows\": 1000000"},
           {"\"seconds\": 0.001", "\"seconds\": -1"},
           {"\"rows_per_second\": 1990.5", "\"rows_per_second\": 1e999"},
           {"\"ways\"", "\"other\""}}) {
    std::string text = whole;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from << " in " << whole;
    text.replace(at, from.size(), to);
    Write(text);
    EXPECT_EQ(cache_.Find(Key("m")).status().code(), absl::StatusCode::kInvalidArgument) << to;
  }
}

TEST_F(TuningCacheTest, AnUnwritableFileIsAnErrorWithTheMend) {
  const std::string path = (folder_ / "no" / "such" / "folder.json").string();
  const absl::Status status = TuningCache(path).Put(Key("m"), Choice(1));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(path), HasSubstr("No such file"), HasSubstr("may write")));
  // A folder in its place can be neither read nor replaced.
  EXPECT_FALSE(TuningCache(folder_.string()).Find(Key("m")).ok());
}

}  // namespace
}  // namespace denoise
