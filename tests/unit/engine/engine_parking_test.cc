// Chains whose reader has enough to read are parked.
#include <chrono>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_fixture.h"

namespace denoise {
namespace {

constexpr size_t kPlaces = 4;

class ParkingTest : public EngineTest {
 protected:
  // Requests that stream every state to readers who have room for one, and have not begun to read.
  // As many as the engine has places, and all of them parked.
  void FillWithUnread() {
    Start(nullptr, Batching::kStep, /*engines=*/1, /*max_active=*/kPlaces);
    for (size_t i = 0; i < kPlaces; ++i) {
      Submitted& unread = unread_.emplace_back(Make(200, 1, /*seed=*/i));
      unread.request->states = {1, {}, {Content::kXt}};
      unread.request->deadline = clock_.Now() + std::chrono::seconds(60);
      EventStream::Options options;
      options.values_per_sample = 4;
      options.lossless = true;
      options.max_pending_bytes = 1;
      unread = WithStream(unread.request, options);
      Push(unread);
    }
    // One that comes after them has its turn once they have given their places back.
    Submitted other = Make(10);
    Push(other);
    ExpectResult(other);
  }
  // What is asked of the engine comes first in a turn, so the second waits for all of the first.
  void Turn() {
    Settle();
    Settle();
  }
  std::vector<Submitted> unread_;
};

TEST_F(ParkingTest, UnreadStreamsHoldNoPlaceAndGoOnWhereTheyStoppedOnceTheyAreRead) {
  FillWithUnread();
  for (Submitted& unread : unread_) {
    EXPECT_FALSE(unread.stream().ended());
    auto [states, end] = unread.reader->All();
    ASSERT_EQ(states.size(), 200u);
    for (uint32_t i = 0; i < 200; ++i) EXPECT_EQ(states[i].step, i + 1);
    EXPECT_EQ(std::get<ResultEvent>(end).samples, ExpectedSamples(*unread.request));
  }
  Turn();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(ParkingTest, CancelAndDeadlineReachParkedChains) {
  FillWithUnread();
  unread_[0].stream().Cancel(absl::CancelledError("by the test"));
  Turn();
  EXPECT_EQ(live_slots_, kPlaces - 1);
  clock_.Advance(std::chrono::seconds(60));
  engines_[0]->Wake();
  Turn();
  EXPECT_EQ(live_slots_, 0);
  for (size_t i = 1; i < kPlaces; ++i) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(std::get<absl::Status>(unread_[i].reader->All().second)));
  }
}

TEST_F(ParkingTest, StoppingEndsParkedChains) {
  FillWithUnread();
  engines_[0]->Stop();
  EXPECT_EQ(live_slots_, 0);
  for (Submitted& unread : unread_) {
    EXPECT_TRUE(absl::IsUnavailable(std::get<absl::Status>(unread.reader->All().second)));
  }
}

}  // namespace
}  // namespace denoise
