#include "client/viewer/access.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise::viewer {
namespace {

TEST(AccessTest, ReadsHostsWithTheirPorts) {
  HostPort parsed;
  ASSERT_TRUE(ParseHostPort("127.0.0.1:8080", &parsed));
  EXPECT_EQ(parsed.host, "127.0.0.1");
  EXPECT_EQ(parsed.port, 8080);
  ASSERT_TRUE(ParseHostPort("[::1]:0", &parsed));
  EXPECT_EQ(parsed.host, "::1");
  for (const char* text :
       {"", "host", ":1", "host:", "host:x", "host:65536", "host:-1", "::1:80", "[]:1"}) {
    EXPECT_FALSE(ParseHostPort(text, &parsed)) << text;
  }
}

TEST(AccessTest, KnowsItselfByItsNamesOnly) {
  const auto hosts = AllowedHosts({"127.0.0.1", 8080}, {"viewer.example"});
  for (const char* host : {"127.0.0.1:8080", "localhost:8080", "[::1]:8080", "viewer.example",
                           "viewer.example:8080"}) {
    EXPECT_TRUE(CheckHost(host, hosts).ok()) << host;
  }
  for (const char* host :
       {"", "localhost", "localhost:81", "evil.example:8080", "127.0.0.1:8080.evil"}) {
    EXPECT_TRUE(absl::IsPermissionDenied(CheckHost(host, hosts))) << host;
  }
}

TEST(AccessTest, TakesOrdersFromItsOwnPageOnly) {
  EXPECT_TRUE(CheckOrigin("http://localhost:1", "localhost:1", "application/json").ok());
  EXPECT_TRUE(CheckOrigin("https://localhost:1", "localhost:1", "application/json").ok());
  for (const char* origin : {"", "null", "http://evil.example", "http://localhost:2",
                             "http://localhost:1.evil.example"}) {
    EXPECT_TRUE(absl::IsPermissionDenied(CheckOrigin(origin, "localhost:1", "application/json")))
        << origin;
  }
  EXPECT_TRUE(
      absl::IsInvalidArgument(CheckOrigin("http://localhost:1", "localhost:1", "text/plain")));
}

}  // namespace
}  // namespace denoise::viewer
