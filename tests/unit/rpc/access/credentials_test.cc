#include "server/rpc/access/credentials.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string HashOf(absl::string_view token) {
  const Digest digest = DigestOf(token);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

// Single quotes for double ones, and HASH for a token's.
std::string Text(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"'", "\""}, {"HASH", HashOf("token")}});
}

std::string Refusal(absl::string_view text) {
  const auto status = ReadCredentials(Text(text), Principal()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << text;
  return std::string(status.message());
}

TEST(CredentialsTest, AnEntrySaysWhoAndHowMuch) {
  EXPECT_EQ(HashOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const auto read = ReadCredentials(
      Text("[{'name': 'alice', 'sha256': ['HASH', '" + absl::AsciiStrToUpper(HashOf("new")) +
           "'], 'san': 'alice.example', 'tenant': 'art', 'may_name_tenant': true, 'max_priority': "
           "7, 'max_active_chains': 8, 'max_waiting_requests': 9, 'max_waiting_bytes': 10, "
           "'rows_per_second': 0.5, 'burst_rows': 100, 'max_call_seconds': 1.5, "
           "'scopes': ['infer', 'admin']}]"),
      Principal());
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 1u);
  EXPECT_THAT((*read)[0].tokens, testing::ElementsAre(DigestOf("token"), DigestOf("new")));
  EXPECT_THAT((*read)[0].names, testing::ElementsAre("alice.example"));
  const Principal& alice = *(*read)[0].principal;
  EXPECT_EQ(alice.name, "alice");
  EXPECT_EQ(alice.tenant, "art");
  EXPECT_TRUE(alice.may_name_tenant);
  EXPECT_EQ(alice.max_priority, 7);
  EXPECT_EQ(alice.limits.max_active, 8u);
  EXPECT_EQ(alice.limits.max_waiting, 9u);
  EXPECT_EQ(alice.limits.max_waiting_bytes, 10u);
  EXPECT_EQ(alice.limits.rows.per_second, 0.5);
  EXPECT_EQ(alice.limits.rows.burst, 100);
  EXPECT_EQ(alice.max_call, std::chrono::milliseconds(1500));
  EXPECT_TRUE(alice.Has(Scope::kInfer) && alice.Has(Scope::kAdmin));
  EXPECT_FALSE(alice.Has(Scope::kMetrics));
}

TEST(CredentialsTest, WhatItLeavesOutIsAsForAll) {
  Principal defaults;
  defaults.max_priority = 3;
  defaults.may_name_tenant = true;
  defaults.limits = {.max_waiting = 5, .rows = {.per_second = 20, .burst = 20}};
  const auto read = ReadCredentials(Text("[{'name': 'bob', 'san': ['bob.example']}]"), defaults);
  ASSERT_TRUE(read.ok()) << read.status();
  const Principal& bob = *(*read)[0].principal;
  EXPECT_EQ(bob.tenant, "bob");
  EXPECT_EQ(bob.max_priority, 3);
  EXPECT_EQ(bob.limits.max_waiting, 5u);
  EXPECT_EQ(bob.limits.rows.per_second, 20);
  EXPECT_FALSE(bob.may_name_tenant) << "which is to be said";
  EXPECT_TRUE(bob.Has(Scope::kInfer));
  EXPECT_FALSE(bob.Has(Scope::kAdmin)) << "which is to be said";
}

TEST(CredentialsTest, RefusalsNameTheLine) {
  const struct {
    const char* text;
    const char* says;
  } cases[] = {
      {"", "line 1: is not JSON"},
      {"secret-token\nother-token\n", "line 1: is not JSON"},
      {"{'name': 'a', 'sha256': 'HASH'}", "line 1: is not the beginning of a list"},
      {"[]", "line 1: the list has no entry"},
      {"[1]", "line 1: the list has something else than objects"},
      {"[\n{'name': 'a', 'sha256': 'HASH'},\n\n7]", "something else than objects"},
      {"[\n{'name': 'a',\n'sha256': 'HASH',,\n}]", "line 3: is not JSON here"},
      {"[\n{'name': 'a', 'sha256': 'HASH'}", "line 2: is not JSON here"},
      {"[{'name': 'a', 'sha256': 'HASH', 'max_priority': 1e999}]", "line 1: is not JSON here"},
      {"[\n{'sha256': 'HASH'}]", "line 2: name: \"\" is not 1..128 printable"},
      {"[\n{'name': 'a b', 'sha256': 'HASH'}]", "line 2: name: \"a b\" is not 1..128 printable"},
      {"[{\n'name': 'a',\n'sha256': 'HASH',\n'tenant': ''}]", "line 4: tenant: \"\" is not 1..128"},
      {"[{\n'name': 'a',\n'tenant': null,\n'sha256': 'HASH'}]", "line 3: tenant: null is not"},
      {"[\n\n{'name': 'a'}]", "line 3: name: the entry has neither sha256 nor san"},
      {"[{\n'name': 'a',\n'sha256': 'HASH',\n'scopes': ['infer', 'root']}]",
       "line 4: scopes: \"root\" is not infer, admin or metrics"},
      {"[{'name': 'a', 'sha256': 'HASH', 'scopes': []}]", "line 1: scopes: what is there"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'scopes': ['admin', 'metrics']}]",
       "line 2: scopes: metrics beside others"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'rows_per_second': -1}]",
       "line 2: rows_per_second: -1 is not a number between 0 and"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'rows_per_second': 0}]", "line 2: rows_per_second: 0"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'burst_rows': 5}]", "without rows_per_second"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'max_priority': 101}]", "line 2: max_priority: 101"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'max_active_chains': 0}]",
       "line 2: max_active_chains: 0"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'max_waiting_requests': 1.5}]",
       "max_waiting_requests: 1.5"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'max_waiting_bytes': '1M'}]",
       "max_waiting_bytes: \"1M\""},
      {"[{'name': 'a', 'sha256': 'HASH',\n'max_call_seconds': -3}]", "max_call_seconds: -3"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'may_name_tenant': 1}]",
       "may_name_tenant: 1 is not true"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'rows_per_minute': 1}]",
       "line 2: \"rows_per_minute\" is no key of an entry; there are name, sha256, san"},
      {"[{'name': 'a', 'sha256': 'HASH',\n'name': 'b'}]", "line 2: \"name\" is there twice"},
      {"[{'name': 'a', 'san': 'a'},\n{\n'name': 'a', 'san': 'b'}]",
       "line 3: name: is that of the entry of line 1 too"},
      {"[{'name': 'a', 'sha256': 'HASH'},\n{'name': 'b', 'sha256': 'HASH'}]",
       "line 2: sha256: is that of the entry of line 1 too"},
      {"[{'name': 'a', 'san': 'x'},\n{'name': 'b', 'san': ['y', 'x']}]",
       "line 2: san: is that of the entry of line 1 too"},
      {"[{'name': 'a', 'san': ''}]", "san: \"\" is no name"},
  };
  for (const auto& bad : cases) {
    const std::string refusal = Refusal(bad.text);
    EXPECT_THAT(refusal, StartsWith("line ")) << bad.text;
    EXPECT_THAT(refusal, HasSubstr(bad.says)) << bad.text;
  }
}

TEST(CredentialsTest, WhatCouldBeATokenIsNotShown) {
  for (const char* text : {"my-secret\n", "['my-secret", "[{'name': 'a', 'sha256': 'my-secret'}]",
                           "[{'name': 'a', 'sha256': ['HASH', 'my-secret']}]",
                           "[{'name': 'a', 'sha256': {'my-secret': 1}}]",
                           "[{'name': 'a', 'sha256': 'HASH', 'token': 'my-secret'}]",
                           "[{'name': 'a', 'sha256': 'HASH', 'token': 'my-secret"}) {
    EXPECT_THAT(Refusal(text), Not(HasSubstr("my-secret"))) << text;
  }
  EXPECT_THAT(Refusal("[{'name': 'a', 'sha256': 'my-secret'}]"), HasSubstr("--hash-token"));
}

}  // namespace
}  // namespace denoise
