#include "server/log/log_limiter.h"

#include <gtest/gtest.h>

namespace denoise {
namespace {

TEST(LogLimiterTest, LeavesOutWhatIsTooMuchAndSaysHowMuch) {
  LogLimiter limiter(2);
  const LogLimiter::Time begin = LogLimiter::Time() + std::chrono::hours(1);
  const auto at = [&](int milliseconds) {
    return limiter.Admit(begin + std::chrono::milliseconds(milliseconds));
  };
  EXPECT_EQ(at(0), 0u);
  EXPECT_EQ(at(900), 0u);
  EXPECT_EQ(at(950), std::nullopt);
  EXPECT_EQ(at(999), std::nullopt);
  EXPECT_EQ(at(1000), 2u);
  EXPECT_EQ(at(1001), 0u);
  EXPECT_EQ(at(1002), std::nullopt);
  EXPECT_EQ(at(60'000), 1u);
}

}  // namespace
}  // namespace denoise
