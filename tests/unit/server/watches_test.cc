// What looks at the engines and at the memory, look by look.
#include <chrono>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/memory_watch.h"
#include "server/watchdog.h"
#include "tests/unit/engine/fake_clock.h"

namespace denoise {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class WatchdogTest : public ::testing::Test {
 protected:
  void LookAfter(seconds time) {
    clock_.Advance(time);
    watchdog_.Look();
  }

  FakeClock clock_;
  std::optional<SteadyTime> busy_since_;
  std::vector<bool> changes_;
  int ends_ = 0;
  Watchdog watchdog_{{.limit = seconds(10),
                      .engines = {{"cpu:0", [] { return std::nullopt; }},
                                  {"cpu:1", [this] { return busy_since_; }}},
                      .clock = &clock_,
                      .on_change = [this](bool hangs) { changes_.push_back(hangs); },
                      .on_end = [this] { ++ends_; }},
                     Watchdog::WithoutThread()};
};

TEST_F(WatchdogTest, AnIdleEngineNeverHangs) {
  LookAfter(seconds(1000));
  EXPECT_THAT(changes_, IsEmpty());
}

TEST_F(WatchdogTest, ATurnLongerThanTheLimitHangsUntilItComesBack) {
  busy_since_ = clock_.Now();
  LookAfter(seconds(10));
  EXPECT_THAT(changes_, IsEmpty());
  LookAfter(seconds(1));
  LookAfter(seconds(1));
  EXPECT_THAT(changes_, ElementsAre(true));
  busy_since_ = clock_.Now();
  LookAfter(seconds(1));
  EXPECT_THAT(changes_, ElementsAre(true, false));
  EXPECT_EQ(ends_, 0);
}

TEST_F(WatchdogTest, TwiceTheLimitIsTheEnd) {
  busy_since_ = clock_.Now();
  LookAfter(seconds(21));
  LookAfter(seconds(21));
  EXPECT_THAT(changes_, ElementsAre(true));
  EXPECT_EQ(ends_, 1);
}

class MemoryWatchTest : public ::testing::Test {
 protected:
  void LookAt(uint64_t held, uint64_t free = 0) {
    held_ = held;
    free_ = free;
    watch_.Look();
  }

  uint64_t held_ = 0;
  uint64_t free_ = 0;
  std::vector<bool> refusals_;
  int shed_ = 0;
  MemoryWatch watch_{{.limit = 100,
                      .held = [this] { return held_; },
                      .release_free = [this] { held_ -= free_; },
                      .refuse = [this](bool full) { refusals_.push_back(full); },
                      .shed = [this] { ++shed_; }},
                     MemoryWatch::WithoutThread()};
};

TEST_F(MemoryWatchTest, RefusesFrom85PercentUntil80) {
  LookAt(84);
  EXPECT_THAT(refusals_, IsEmpty());
  LookAt(85);
  LookAt(81);
  EXPECT_THAT(refusals_, ElementsAre(true));
  LookAt(79);
  EXPECT_THAT(refusals_, ElementsAre(true, false));
  EXPECT_EQ(shed_, 0);
}

TEST_F(MemoryWatchTest, FreePagesAreNoReasonToRefuse) {
  LookAt(99, /*free=*/20);
  EXPECT_THAT(refusals_, IsEmpty());
  EXPECT_EQ(shed_, 0);
}

TEST_F(MemoryWatchTest, ShedsAtEachLookFrom95Percent) {
  LookAt(95);
  LookAt(96);
  LookAt(94);
  EXPECT_EQ(shed_, 2);
}

TEST(HeldMemoryTest, GrowsWithWhatIsWrittenTo) {
  const uint64_t before = HeldMemory();
  const std::vector<char> block(64 << 20, 1);
  EXPECT_NEAR(static_cast<double>(HeldMemory() - before), static_cast<double>(block.size()),
              8 << 20);
}

}  // namespace
}  // namespace denoise
