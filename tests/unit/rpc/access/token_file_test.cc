#include "server/rpc/access/token_file.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/fake_clock.h"
#include "tests/unit/rpc/access/entries.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

class TokenFileTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  // As Kubernetes does it.
  void Replace(const std::string& text) {
    std::ofstream(path_ + ".new") << text;
    std::filesystem::rename(path_ + ".new", path_);
  }
  std::unique_ptr<TokenFile> Open() {
    auto file = TokenFile::Open(path_, Principal(), &clock_);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  std::string Refusal() {
    const auto status = TokenFile::Open(path_, Principal(), &clock_).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    return std::string(status.message());
  }
  static std::string NameOf(const std::shared_ptr<const Principal>& principal) {
    return principal == nullptr ? "nobody" : principal->name;
  }

  const std::string path_ = ::testing::TempDir() + "/tokens";
  FakeClock clock_;
};

TEST_F(TokenFileTest, WhoseTokenItIs) {
  Write(Entries({{"alice", "one"}, {"bob", "two"}}));
  const auto file = Open();
  EXPECT_EQ(NameOf(file->OfToken("one")), "alice");
  EXPECT_EQ(NameOf(file->OfToken("two")), "bob");
  for (const char* token : {"", "on", "one ", " one", "ONE", "alice"}) {
    EXPECT_EQ(NameOf(file->OfToken(token)), "nobody") << token;
  }
  const Digest digest = DigestOf("one");
  const std::string itself(reinterpret_cast<const char*>(digest.data()), digest.size());
  EXPECT_EQ(NameOf(file->OfToken(itself)), "nobody") << "who has read the file has no token";
}

TEST_F(TokenFileTest, WhoseCertificateItIs) {
  Write(R"([{"name": "alice", "san": ["spiffe://example/alice", "alice.example"]},
            {"name": "bob", "san": "bob.example"}])");
  const auto file = Open();
  EXPECT_EQ(NameOf(file->OfCertificate({"other", "alice.example"})), "alice");
  EXPECT_EQ(NameOf(file->OfCertificate({"bob.example", "alice.example"})), "alice") << "the first";
  for (const char* name : {"", "example", "eve.alice.example", "*.example", "alice.example.org"}) {
    EXPECT_EQ(NameOf(file->OfCertificate({name})), "nobody") << name;
  }
  EXPECT_EQ(NameOf(file->OfCertificate({})), "nobody");
}

TEST_F(TokenFileTest, FilesThatAreOfNoUse) {
  Write("[]");
  EXPECT_THAT(Refusal(), HasSubstr("' line 1: the list has no entry"));
  Write(std::string((1 << 20) + 1, ' '));
  EXPECT_THAT(Refusal(), HasSubstr("has more than 1048576 bytes"));
  std::filesystem::remove(path_);
  EXPECT_THAT(Refusal(), HasSubstr("cannot be read"));
  std::filesystem::create_directory(path_);
  EXPECT_THAT(Refusal(), HasSubstr("cannot be read"));
  std::filesystem::remove(path_);
}

TEST_F(TokenFileTest, IsReadAgainAtMostOnceASecond) {
  Write(Entries({{"alice", "one"}}));
  const auto file = Open();
  Replace(Entries({{"alice", "other"}}));
  EXPECT_EQ(NameOf(file->OfToken("other")), "nobody") << "not yet looked at again";
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(NameOf(file->OfToken("other")), "alice");
  EXPECT_EQ(NameOf(file->OfToken("one")), "nobody");
}

TEST_F(TokenFileTest, WhatIsOfNoUseChangesNothingAndIsTold) {
  Write(Entries({{"alice", "one"}}));
  const auto file = Open();
  EXPECT_FALSE(file->stale());
  for (const char* text : {"[]", "[{\"name\": \"alice\"}]", "[{\"name\": "}) {
    Replace(text);
    clock_.Advance(std::chrono::seconds(1));
    EXPECT_EQ(NameOf(file->OfToken("one")), "alice");
    EXPECT_TRUE(file->stale());
    clock_.Advance(std::chrono::seconds(1));
    EXPECT_TRUE(file->stale()) << "until it changes";
  }
  std::filesystem::remove(path_);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(NameOf(file->OfToken("one")), "alice");
  EXPECT_TRUE(file->stale());
  Replace(Entries({{"alice", "two"}}));
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_FALSE(file->stale());
  EXPECT_EQ(NameOf(file->OfToken("two")), "alice");
}

}  // namespace
}  // namespace denoise
