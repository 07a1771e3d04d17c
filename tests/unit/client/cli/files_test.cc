#include "client/cli/files.h"

#include <filesystem>
#include <fstream>

#include "client/cli/exit_codes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise::cli {
namespace {

class FilesTest : public ::testing::Test {
 protected:
  FilesTest()
      : folder_(std::filesystem::path(::testing::TempDir()) /
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
  }
  ~FilesTest() override { std::filesystem::remove_all(folder_); }
  std::string Path(const char* name) const { return (folder_ / name).string(); }

  const std::filesystem::path folder_;
};

TEST_F(FilesTest, WrittenAndReadBack) {
  const std::string bytes("a\0b\xff", 4);
  ASSERT_TRUE(CheckWritable(Path("x")).ok());
  EXPECT_FALSE(std::filesystem::exists(Path("x"))) << "checking leaves nothing behind";
  ASSERT_TRUE(WriteFile(Path("x"), "older and longer").ok());
  ASSERT_TRUE(CheckWritable(Path("x")).ok());
  ASSERT_TRUE(WriteFile(Path("x"), bytes).ok());
  EXPECT_EQ(ReadFile(Path("x")).value(), bytes);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(FilesTest, WhereNothingCanBeWritten) {
  EXPECT_TRUE(absl::IsPermissionDenied(CheckWritable(Path("none/x"))));
  EXPECT_TRUE(absl::IsPermissionDenied(CheckWritable(folder_.string())));
  EXPECT_TRUE(absl::IsPermissionDenied(WriteFile(Path("none/x"), "a")));
}

TEST_F(FilesTest, WhatIsNotThere) {
  EXPECT_TRUE(absl::IsNotFound(ReadFile(Path("none")).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadFile(folder_.string()).status()));
}

TEST(ExtensionTest, InAnyCase) {
  EXPECT_TRUE(HasExtension("a.png", ".png"));
  EXPECT_TRUE(HasExtension("A.PNG", ".png"));
  EXPECT_FALSE(HasExtension("png", ".png"));
  EXPECT_FALSE(HasExtension(".png", ".png"));
  EXPECT_FALSE(HasExtension("a.png.gif", ".png"));
}

TEST(ExitCodesTest, FollowSysexits) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), 65);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), 65);
  EXPECT_EQ(ExitCodeOf(absl::AlreadyExistsError("")), 65);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), 69);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("")), 70);
  EXPECT_EQ(ExitCodeOf(absl::DataLossError("")), 70);
  EXPECT_EQ(ExitCodeOf(absl::ResourceExhaustedError("")), 75);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), 75);
  EXPECT_EQ(ExitCodeOf(absl::PermissionDeniedError("")), 77);
}

}  // namespace
}  // namespace denoise::cli
