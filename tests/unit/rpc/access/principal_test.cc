#include "server/rpc/access/principal.h"

#include <chrono>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

TEST(GrantTest, ARequestIsItsCallersWithItsLimits) {
  const Principal principal = {.tenant = "art", .limits = {.max_waiting = 3}};
  Request request;
  request.priority = -100;
  ASSERT_TRUE(Grant(principal, &request).ok());
  EXPECT_EQ(request.tenant, "art");
  EXPECT_EQ(request.limits.max_waiting, 3u);
  EXPECT_FALSE(request.deadline.has_value());
}

TEST(GrantTest, PrioritiesEndWhereTheCallersDo) {
  Request request;
  request.priority = 1;
  const absl::Status refused = Grant({}, &request);
  EXPECT_TRUE(absl::IsPermissionDenied(refused));
  EXPECT_EQ(FieldOf(refused), "priority");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("1 is above 0, the highest"));
  EXPECT_TRUE(Grant({.max_priority = 1}, &request).ok());
  EXPECT_FALSE(Grant({.max_priority = -5}, &request).ok());
}

TEST(GrantTest, CallsEndWhereTheyMust) {
  const Principal principal = {.max_call = seconds(10)};
  Request request;
  request.arrival = SteadyTime(seconds(100));
  ASSERT_TRUE(Grant(principal, &request).ok());
  EXPECT_EQ(request.deadline, SteadyTime(seconds(110)));
  EXPECT_TRUE(request.deadline_is_limit);

  request.deadline = SteadyTime(seconds(109));
  request.deadline_is_limit = false;
  ASSERT_TRUE(Grant(principal, &request).ok());
  EXPECT_EQ(request.deadline, SteadyTime(seconds(109)));
  EXPECT_FALSE(request.deadline_is_limit);

  request.deadline = SteadyTime(seconds(130));
  const absl::Status refused = Grant(principal, &request);
  EXPECT_TRUE(absl::IsPermissionDenied(refused));
  EXPECT_EQ(FieldOf(refused), "deadline");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("30s from now are more than the 10s"));
}

}  // namespace
}  // namespace denoise
