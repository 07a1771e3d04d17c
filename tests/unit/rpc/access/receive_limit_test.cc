#include "server/rpc/access/receive_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "server/rpc/status.h"
#include "tests/unit/engine/fake_clock.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMiB = 1 << 20;
constexpr auto kSlow = std::chrono::milliseconds(5);

class ReceiveLimitTest : public testing::Test {
 protected:
  ReceiveLimit::ReadId Begin(const std::string& peer, const std::string& name) {
    return limit_.Begin(peer, [this, name](const absl::Status& why) {
      cut_off_.push_back(name);
      why_ = why;
    });
  }
  void Look() {
    clock_.Advance(kSlow);
    limit_.Look();
  }

  FakeClock clock_;
  std::map<std::string, uint64_t> connections_;  // as they are
  std::map<std::string, uint64_t*> known_;       // since the last refresh
  uint64_t held_ = 0;
  std::vector<std::string> cut_off_;
  absl::Status why_;
  ReceiveLimit limit_{{.max_bytes = 64 * kMiB,  // 69 with what frames them
                       .received = [this](const std::string& peer) -> std::optional<uint64_t> {
                         const auto it = known_.find(peer);
                         if (it == known_.end()) return std::nullopt;
                         return *it->second;
                       },
                       .refresh =
                           [this] {
                             known_.clear();
                             for (auto& [peer, bytes] : connections_) known_[peer] = &bytes;
                           },
                       .held = [this] { return held_; },
                       .clock = &clock_,
                       .looks_by_itself = false}};
};

TEST_F(ReceiveLimitTest, WhoSendsMostIsCutOffWhereItIsTooMuchInAll) {
  connections_ = {{"a", 30 * kMiB}, {"b", 35 * kMiB}, {"c", 0}};
  const auto a = Begin("a", "a");
  const auto b = Begin("b", "b");
  const auto c = Begin("c", "c");
  Look();
  EXPECT_THAT(cut_off_, IsEmpty());
  connections_["c"] = 10 * kMiB;
  Look();
  EXPECT_THAT(cut_off_, ElementsAre("b"));
  EXPECT_TRUE(absl::IsResourceExhausted(why_));
  EXPECT_EQ(ReasonOf(why_), kMemoryFull);
  EXPECT_THAT(std::string(why_.message()), HasSubstr("--max-receive-bytes"));
  Look();
  EXPECT_EQ(cut_off_.size(), 1u);
  EXPECT_TRUE(limit_.End(a, 30 * kMiB));
  EXPECT_FALSE(limit_.End(b, 0));
  EXPECT_TRUE(limit_.End(c, 10 * kMiB));
}

TEST_F(ReceiveLimitTest, TheLargestMessageThereMayBeIsTakenIn) {
  connections_ = {{"a", 64 * kMiB + 2 * kMiB}};  // with its frames
  Begin("a", "a");
  Look();
  EXPECT_THAT(cut_off_, IsEmpty());
}

TEST_F(ReceiveLimitTest, ManyConnectionsAreCutOffUntilTheRestFits) {
  for (int i = 0; i < 9; ++i) {
    const std::string name(1, static_cast<char>('a' + i));
    connections_[name] = (20 + i) * kMiB;
    Begin(name, name);
  }
  Look();
  EXPECT_THAT(cut_off_, ElementsAre("i", "h", "g", "f", "e", "d"));
}

TEST_F(ReceiveLimitTest, WhatBecameMessagesIsNotCounted) {
  connections_ = {{"a", 0}};
  Begin("a", "stream");
  for (int i = 1; i <= 10; ++i) {
    const auto read = Begin("a", "message");
    Look();
    connections_["a"] += 60 * kMiB;
    Look();
    EXPECT_TRUE(limit_.End(read, 60 * kMiB));
    Look();
  }
  EXPECT_THAT(cut_off_, IsEmpty());
  connections_["a"] += 70 * kMiB;  // of one that is never whole
  Look();
  EXPECT_THAT(cut_off_, ElementsAre("stream"));
}

TEST_F(ReceiveLimitTest, WhatAConnectionSentBeforeIsNotCounted) {
  connections_ = {{"a", 0}};
  EXPECT_TRUE(limit_.End(Begin("a", "first"), 0));
  clock_.Advance(std::chrono::milliseconds(50));
  limit_.Look();  // gets to know it
  connections_["a"] = 10'000 * kMiB;
  Begin("a", "second");
  Look();
  EXPECT_THAT(cut_off_, IsEmpty());
  connections_["a"] += 70 * kMiB;
  Look();
  EXPECT_THAT(cut_off_, ElementsAre("second"));
}

TEST_F(ReceiveLimitTest, WhatWaitsToBeParsedAndIsBeingParsedCounts) {
  connections_ = {{"a", 10 * kMiB}};
  Begin("a", "a");
  held_ = 60 * kMiB;
  Look();
  EXPECT_THAT(cut_off_, ElementsAre("a"));
}

TEST_F(ReceiveLimitTest, WhatIsNeverAMessagesIsForgotten) {
  connections_ = {{"a", 0}};
  Begin("a", "stream");
  for (int i = 0; i < 10; ++i) {
    connections_["a"] += 20 * kMiB;
    clock_.Advance(std::chrono::seconds(61));
    limit_.Look();
  }
  EXPECT_THAT(cut_off_, IsEmpty());
}

TEST_F(ReceiveLimitTest, ReadsThatHaveJustBegunAreLeftAlone) {
  connections_ = {{"a", 100 * kMiB}};
  Begin("a", "a");
  limit_.Look();
  EXPECT_THAT(cut_off_, IsEmpty());
  Look();
  EXPECT_THAT(cut_off_, ElementsAre("a"));
}

}  // namespace
}  // namespace denoise
