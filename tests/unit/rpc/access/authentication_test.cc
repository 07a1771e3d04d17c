#include "server/rpc/access/authentication.h"

#include <fstream>
#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/diffusion/field_error.h"
#include "tests/unit/engine/fake_clock.h"
#include "tests/unit/rpc/access/entries.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr char kPeer[] = "ipv4:10.0.0.7:40000";

// The certificate of a connection.
class Connection : public grpc::AuthContext {
 public:
  explicit Connection(std::vector<std::string> names) : names_(std::move(names)) {}
  bool IsPeerAuthenticated() const override { return true; }
  std::vector<grpc::string_ref> GetPeerIdentity() const override { return {}; }
  std::string GetPeerIdentityPropertyName() const override { return ""; }
  std::vector<grpc::string_ref> FindPropertyValues(const std::string& name) const override {
    if (name != "x509_subject_alternative_name") return {};
    return {names_.begin(), names_.end()};
  }
  grpc::AuthPropertyIterator begin() const override { return None(); }
  grpc::AuthPropertyIterator end() const override { return None(); }
  void AddProperty(const std::string&, const grpc::string_ref&) override {}
  bool SetPeerIdentityPropertyName(const std::string&) override { return false; }

 private:
  struct None : grpc::AuthPropertyIterator {};
  const std::vector<std::string> names_;
};

class AuthenticationTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = testing::TempDir() + "/principals";
    std::ofstream(path) << Entries(
        {{"alice", "one", R"(, "tenant": "art")"},
         {"gate", "two", R"(, "may_name_tenant": true)"},
         {"root", "three", R"(, "san": "root.example", "scopes": "admin")"}});
    tokens_ = *TokenFile::Open(path, Principal(), &clock_);
    closed_ = std::make_unique<Authenticator>(Authenticator::Options{.tokens = tokens_.get()});
  }

  absl::StatusOr<Principal> Call(const CallMetadata& metadata, Scope scope = Scope::kInfer) {
    return closed_->Authenticate(metadata, nullptr, kPeer, scope);
  }
  static absl::StatusOr<Principal> Call(Authenticator::Options options,
                                        const CallMetadata& metadata, const char* peer = kPeer) {
    return Authenticator(std::move(options)).Authenticate(metadata, nullptr, peer, Scope::kInfer);
  }

  FakeClock clock_;
  std::unique_ptr<TokenFile> tokens_;
  std::unique_ptr<Authenticator> closed_;
};

TEST_F(AuthenticationTest, ATokenSaysWho) {
  const auto alice = Call({{"authorization", "Bearer one"}});
  ASSERT_TRUE(alice.ok()) << alice.status();
  EXPECT_EQ(alice->name, "alice");
  EXPECT_EQ(alice->tenant, "art");
  for (const CallMetadata& metadata :
       {CallMetadata{}, CallMetadata{{"authorization", "Bearer other"}},
        CallMetadata{{"authorization", "one"}},
        CallMetadata{{"authorization", "Bearer one"}, {"authorization", "Bearer one"}}}) {
    EXPECT_TRUE(absl::IsUnauthenticated(Call(metadata).status()));
  }
}

TEST_F(AuthenticationTest, ACertificateSaysWhoWhereThereIsNoToken) {
  const Connection root({"other", "root.example"}), stranger({"eve.example"});
  EXPECT_EQ(closed_->Authenticate({}, &root, kPeer, Scope::kAdmin)->name, "root");
  EXPECT_TRUE(
      absl::IsUnauthenticated(closed_->Authenticate({}, &stranger, kPeer, std::nullopt).status()));
  const CallMetadata wrong = {{"authorization", "Bearer wrong"}};
  EXPECT_TRUE(
      absl::IsUnauthenticated(closed_->Authenticate(wrong, &root, kPeer, std::nullopt).status()));
  const CallMetadata alice = {{"authorization", "Bearer one"}};
  EXPECT_EQ(closed_->Authenticate(alice, &root, kPeer, std::nullopt)->name, "alice");
}

TEST_F(AuthenticationTest, AScopeIsNeeded) {
  const absl::Status infer = Call({{"authorization", "Bearer one"}}, Scope::kAdmin).status();
  EXPECT_TRUE(absl::IsPermissionDenied(infer));
  EXPECT_THAT(std::string(infer.message()), HasSubstr("alice has not the scope admin"));
  EXPECT_TRUE(absl::IsPermissionDenied(Call({{"authorization", "Bearer three"}}).status()));
  EXPECT_TRUE(Call({{"authorization", "Bearer three"}}, Scope::kAdmin).ok());
}

TEST_F(AuthenticationTest, OnlyWhoMayNamesATenant) {
  const auto named = [&](const char* token, const char* tenant) {
    return Call({{"authorization", token}, {"denoise-tenant", tenant}});
  };
  EXPECT_EQ(named("Bearer two", "anyone")->tenant, "anyone");
  EXPECT_EQ(Call({{"authorization", "Bearer two"}})->tenant, "gate");
  EXPECT_EQ(named("Bearer one", "art")->tenant, "art") << "its own";
  const absl::Status refused = named("Bearer one", "other").status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused));
  EXPECT_EQ(FieldOf(refused), "denoise-tenant");
  EXPECT_TRUE(absl::IsInvalidArgument(named("Bearer two", "two words").status()));
}

TEST_F(AuthenticationTest, WithoutCredentialsAllAreOneTenant) {
  EXPECT_EQ(Call({}, CallMetadata{})->tenant, "");
  EXPECT_TRUE(absl::IsPermissionDenied(Call({}, {{"denoise-tenant", "me"}}).status()));
  EXPECT_EQ(Call({.anyone = {.may_name_tenant = true}}, {{"denoise-tenant", "me"}})->tenant, "me");
}

TEST_F(AuthenticationTest, OrEachAddressIsOne) {
  const Authenticator::Options by_address = {.tenant_by_address = true};
  EXPECT_EQ(Call(by_address, {})->tenant, "10.0.0.7");
  EXPECT_EQ(Call(by_address, {}, "ipv4:10.0.0.7:1")->tenant, "10.0.0.7") << "of any port";
  EXPECT_EQ(Call(by_address, {}, "ipv6:%5B2001:db8:1:2:3:4:5:6%5D:40000")->tenant,
            "2001:db8:1:2::/64");
  EXPECT_EQ(Call(by_address, {}, "ipv6:[2001:db8:1:2::9]:40000")->tenant, "2001:db8:1:2::/64");
  EXPECT_EQ(Call(by_address, {}, "ipv6:%5Bfe80::1%25eth0%5D:40000")->tenant, "fe80::/64");
  EXPECT_EQ(Call(by_address, {}, "unix:/run/socket")->tenant, "unix:/run/socket");
  EXPECT_TRUE(absl::IsPermissionDenied(Call(by_address, {{"denoise-tenant", "me"}}).status()));
}

}  // namespace
}  // namespace denoise
