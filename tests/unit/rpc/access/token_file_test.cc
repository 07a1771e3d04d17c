#include "server/rpc/access/token_file.h"

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/access/authentication.h"
#include "tests/unit/engine/fake_clock.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

class TokenFileTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  std::unique_ptr<TokenFile> Open() {
    auto file = TokenFile::Open(path_, &clock_);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  std::string Refusal() {
    const auto status = TokenFile::Open(path_, &clock_).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    return std::string(status.message());
  }

  const std::string path_ = ::testing::TempDir() + "/tokens";
  FakeClock clock_;
};

TEST_F(TokenFileTest, ATokenALine) {
  Write("# comment\n\n  one \r\ntwo\n");
  const auto file = Open();
  EXPECT_TRUE(file->Accepts("one"));
  EXPECT_TRUE(file->Accepts("two"));
  for (const char* token : {"", "on", "one ", " one", "ONE", "# comment", "one\ntwo"}) {
    EXPECT_FALSE(file->Accepts(token)) << token;
  }
}

TEST_F(TokenFileTest, FilesThatAreOfNoUse) {
  Write("# nothing\n");
  EXPECT_THAT(Refusal(), HasSubstr("holds no token"));
  Write("two words\n");
  EXPECT_THAT(Refusal(), HasSubstr("without blanks"));
  std::remove(path_.c_str());
  EXPECT_THAT(Refusal(), HasSubstr("cannot be read"));
}

TEST_F(TokenFileTest, IsReadAgainAtMostOnceASecond) {
  Write("one\n");
  const auto file = Open();
  Write("other\n");
  EXPECT_FALSE(file->Accepts("other")) << "not yet looked at again";
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(file->Accepts("other"));
  EXPECT_FALSE(file->Accepts("one"));
}

TEST_F(TokenFileTest, WhatCannotBeReadChangesNothing) {
  Write("one\n");
  const auto file = Open();
  for (const char* text : {"# empty\n", "two words\n"}) {
    Write(text);
    clock_.Advance(std::chrono::seconds(1));
    EXPECT_TRUE(file->Accepts("one"));
  }
  std::remove(path_.c_str());
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(file->Accepts("one"));
}

TEST(AuthenticateTest, WithoutTokensEverybodyMayCall) {
  EXPECT_TRUE(Authenticate(nullptr, {}).ok());
}

}  // namespace
}  // namespace denoise
