#include "server/engine/tenants.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/fake_clock.h"

namespace denoise {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Optional;

class TenantsTest : public testing::Test {
 protected:
  // The share of a request that enters.
  uint64_t Enter(const std::string& name, uint64_t rows, const TenantLimits& limits = {}) {
    const uint64_t share = tenants_.ShareOf(name);
    entered_ = tenants_.Enter(name, limits, {rows, 0}, clock_.Now());
    return share;
  }
  void ComeAndGo(const std::string& name, uint64_t rows, const TenantLimits& limits = {}) {
    Enter(name, rows, limits);
    tenants_.Leave(entered_, 0);
  }
  size_t known() const {
    size_t count = 0;
    tenants_.ForEach([&](const std::string&, const Tenant&) { ++count; });
    return count;
  }

  FakeClock clock_;
  Tenants tenants_{4};
  Tenant* entered_ = nullptr;
};

TEST_F(TenantsTest, WhoAsksForMoreComesLater) {
  EXPECT_EQ(Enter("a", 10), 0u);
  EXPECT_EQ(Enter("a", 10), 10u);
  EXPECT_EQ(tenants_.ShareOf("a"), 20u);
  EXPECT_EQ(entered_->waiting(), 2u);
  EXPECT_EQ(Enter("b", 5), 0u);
}

TEST_F(TenantsTest, NobodySavesUpWhileAway) {
  EXPECT_EQ(Enter("a", 1000), 0u);
  tenants_.ServedUpTo(600);
  tenants_.ServedUpTo(500);  // never back
  EXPECT_EQ(Enter("b", 10), 600u);
  EXPECT_EQ(Enter("a", 10), 1000u);
}

TEST_F(TenantsTest, LimitsAreOfATenantAndSayWhenToComeAgain) {
  const TenantLimits limits = {
      .max_waiting = 2, .max_waiting_bytes = 100, .rows = {.per_second = 10, .burst = 10}};
  const auto check = [&](const char* name, uint64_t rows, uint64_t bytes) {
    return tenants_.Check(name, limits, {rows, bytes}, clock_.Now());
  };
  EXPECT_TRUE(check("a", 10, 100).ok());
  tenants_.Enter("a", limits, {5, 60}, clock_.Now());

  const absl::Status bytes = check("a", 0, 41);
  EXPECT_TRUE(absl::IsResourceExhausted(bytes));
  EXPECT_THAT(std::string(bytes.message()), HasSubstr("have brought 60 bytes, this one has 41"));
  EXPECT_THAT(QuotaDelayOf(bytes), Optional(absl::ZeroDuration()));

  const absl::Status rows = check("a", 8, 0);
  EXPECT_TRUE(absl::IsResourceExhausted(rows));
  EXPECT_THAT(std::string(rows.message()), HasSubstr("needs 8 denoiser rows, and 10 a second"));
  EXPECT_THAT(QuotaDelayOf(rows), Optional(absl::Milliseconds(300)));
  EXPECT_TRUE(check("b", 8, 41).ok()) << "another has its own";

  Tenant* const tenant = tenants_.Enter("a", limits, {5, 0}, clock_.Now());
  EXPECT_THAT(std::string(check("a", 0, 0).message()), HasSubstr("2 of its requests wait"));
  tenants_.Leave(tenant, 60);
  EXPECT_TRUE(check("a", 0, 100).ok());
  clock_.Advance(seconds(1));
  EXPECT_TRUE(check("a", 10, 0).ok());

  const absl::Status never = check("b", 0, 101);
  EXPECT_TRUE(absl::IsPermissionDenied(never)) << never;
  EXPECT_EQ(QuotaDelayOf(never), std::nullopt);
}

TEST_F(TenantsTest, ActiveChainsAreCountedWhereverTheyGo) {
  Enter("a", 1);
  const TenantLimits limits = {.max_active = 5};
  EXPECT_EQ(entered_->RoomFor(limits), 5u);
  ActiveChains range = entered_->Activate(3);
  EXPECT_EQ(entered_->RoomFor(limits), 2u);
  EXPECT_EQ(entered_->RoomFor(limits, 3), 0u);
  ActiveChains one = range.TakeOne();
  ActiveChains moved = std::move(one);
  EXPECT_EQ(entered_->active(), 3u);
  moved = ActiveChains();
  EXPECT_EQ(entered_->active(), 2u);
  range = ActiveChains();
  EXPECT_EQ(entered_->active(), 0u);
  EXPECT_EQ(entered_->RoomFor({}), SIZE_MAX);
}

TEST_F(TenantsTest, TheIdleAreForgottenAndThoseThatHaveSomethingAreNot) {
  Enter("waits", 10);
  ComeAndGo("runs", 10);
  const ActiveChains running = entered_->Activate(1);
  for (int i = 0; i < 10'000; ++i) ComeAndGo(absl::StrCat(i), 10);
  EXPECT_LE(known(), 4u);
  EXPECT_EQ(tenants_.ShareOf("waits"), 10u);
  EXPECT_EQ(tenants_.Find("runs")->active(), 1u);
  // Of equals it is not said who goes.
  int remembered = 0;
  for (int i = 0; i < 10'000; ++i) remembered += tenants_.ShareOf(absl::StrCat(i)) > 0 ? 1 : 0;
  EXPECT_LE(remembered, 2);
}

TEST_F(TenantsTest, NobodyGetsRidOfWhatHeOwesByMakingUpNames) {
  const TenantLimits limits = {.rows = {.per_second = 1, .burst = 1}};
  ComeAndGo("owes", 1000, limits);
  for (int i = 0; i < 10'000; ++i) ComeAndGo(absl::StrCat(i), 10, limits);
  EXPECT_LE(known(), 4u);
  EXPECT_EQ(tenants_.ShareOf("owes"), 1000u);
  EXPECT_FALSE(tenants_.Check("owes", limits, {1, 0}, clock_.Now()).ok());
  // Once it owes nothing it may be forgotten.
  tenants_.ServedUpTo(1000);
  clock_.Advance(seconds(1000));
  for (int i = 0; i < 5; ++i) ComeAndGo(absl::StrCat(i), 10, limits);
  EXPECT_EQ(tenants_.Find("owes"), nullptr);
}

}  // namespace
}  // namespace denoise
