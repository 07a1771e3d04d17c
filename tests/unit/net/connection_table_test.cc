#include "net/connection_table.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <optional>

namespace denoise {
namespace {

using Time = ConnectionTable::Time;

constexpr Time kNow{};

// The connection's id, which is served at once.
ConnectionTable::Id Served(ConnectionTable& table, const std::string& address) {
  const auto admission = table.Admit(address, kNow);
  EXPECT_TRUE(admission.id) << address;
  table.Serve(*admission.id);
  return *admission.id;
}

TEST(ConnectionTableTest, ServedConnectionsKeepOthersOut) {
  ConnectionTable table({.max_connections = 3, .max_per_address = 2});
  const auto first = Served(table, "a");
  Served(table, "a");
  EXPECT_EQ(table.Admit("a", kNow).reason, Refusal::kTooManyOfAddress);
  Served(table, "b");
  EXPECT_EQ(table.Admit("b", kNow).reason, Refusal::kTooMany);
  EXPECT_EQ(table.Admit("c", kNow).reason, Refusal::kTooMany);
  EXPECT_EQ(table.size(), 3u);

  table.Remove(first);
  EXPECT_TRUE(table.Admit("c", kNow).id);
}

TEST(ConnectionTableTest, TheOldestSilentOneMakesRoom) {
  ConnectionTable table({.max_connections = 3, .max_per_address = 3});
  Served(table, "a");
  const auto oldest = table.Admit("b", kNow).id;
  const auto older = table.Admit("a", kNow).id;
  EXPECT_EQ(table.Admit("c", kNow).evicted, oldest);
  EXPECT_EQ(table.Admit("c", kNow).evicted, older);
  EXPECT_EQ(table.size(), 3u);
  EXPECT_EQ(table.served(), 1u);
}

TEST(ConnectionTableTest, AnAddressMakesRoomForItselfAlone) {
  ConnectionTable table({.max_connections = 10, .max_per_address = 2});
  const auto others = table.Admit("b", kNow).id;
  const auto own = table.Admit("a", kNow).id;
  Served(table, "a");
  const auto admission = table.Admit("a", kNow);
  EXPECT_EQ(admission.evicted, own);
  EXPECT_EQ(table.OldestSilent()->first, *others);
  table.Serve(*admission.id);
  EXPECT_EQ(table.Admit("a", kNow).reason, Refusal::kTooManyOfAddress);
}

TEST(ConnectionTableTest, KnowsWhoHasBeenSilentForLongest) {
  ConnectionTable table({});
  EXPECT_EQ(table.OldestSilent(), std::nullopt);
  const Time later = kNow + std::chrono::seconds(1);
  const auto first = *table.Admit("a", kNow).id;
  const auto second = *table.Admit("b", later).id;
  EXPECT_EQ(table.OldestSilent(), std::pair(first, kNow));
  table.Serve(first);
  EXPECT_EQ(table.OldestSilent(), std::pair(second, later));
  table.Remove(second);
  EXPECT_EQ(table.OldestSilent(), std::nullopt);
}

std::string KeyOf(const char* text) {
  sockaddr_storage address = {};
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
  if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    address.ss_family = AF_INET6;
  } else {
    address.ss_family = AF_INET;
    EXPECT_EQ(inet_pton(AF_INET, text, &reinterpret_cast<sockaddr_in*>(&address)->sin_addr), 1);
  }
  return AddressKey(address);
}

TEST(AddressKeyTest, IsThatOfAHost) {
  EXPECT_NE(KeyOf("192.0.2.1"), KeyOf("192.0.2.2"));
  EXPECT_EQ(KeyOf("192.0.2.1"), KeyOf("::ffff:192.0.2.1"));
  EXPECT_EQ(KeyOf("2001:db8:0:1::1"), KeyOf("2001:db8:0:1:ffff::2"));
  EXPECT_NE(KeyOf("2001:db8:0:1::1"), KeyOf("2001:db8:0:2::1"));
}

}  // namespace
}  // namespace denoise
