#include "server/engine/tenant_shares.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

TEST(TenantSharesTest, WhoAsksForMoreComesLater) {
  TenantShares shares(100);
  EXPECT_EQ(shares.Add("a", 10), 0u);
  EXPECT_EQ(shares.Add("a", 10), 10u);
  EXPECT_EQ(shares.ShareOf("a"), 20u);
  EXPECT_EQ(shares.Add("b", 5), 0u);
  EXPECT_EQ(shares.waiting("a"), 2u);
  shares.Leave("a");
  EXPECT_EQ(shares.waiting("a"), 1u);
}

TEST(TenantSharesTest, NobodySavesUpWhileAway) {
  TenantShares shares(100);
  EXPECT_EQ(shares.Add("a", 1000), 0u);
  shares.ServedUpTo(600);
  shares.ServedUpTo(500);  // never back
  EXPECT_EQ(shares.Add("b", 10), 600u);
  EXPECT_EQ(shares.Add("a", 10), 1000u);
}

TEST(TenantSharesTest, TheIdleAreForgottenAndThoseThatWaitAreNot) {
  TenantShares shares(4);
  shares.Add("waits", 10);
  for (int i = 0; i < 10; ++i) {
    const std::string name = absl::StrCat(i);
    shares.Add(name, 10);
    shares.Leave(name);
  }
  EXPECT_EQ(shares.waiting("waits"), 1u);
  EXPECT_EQ(shares.ShareOf("waits"), 10u);
  EXPECT_EQ(shares.ShareOf("0"), 0u);
}

}  // namespace
}  // namespace denoise
