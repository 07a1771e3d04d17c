#include "client/cli/progress.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise::cli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class ProgressTest : public ::testing::Test {
 protected:
  std::string Text() const { return err_.str(); }

  std::ostringstream out_;
  std::ostringstream err_;
  Console console_{.out = out_, .err = err_};
  absl::Duration now_ = absl::Seconds(1000);
  Progress progress_{&console_, [this] { return now_; }};
};

TEST_F(ProgressTest, ALineEveryTenthWhereThereIsNoTerminal) {
  progress_.Accepted(1, 50, 0, {});
  for (uint32_t step = 1; step <= 50; ++step) {
    progress_.Update(0, step);
    now_ += absl::Milliseconds(100);
  }
  const std::string text = Text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 10);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("step 25/50  10 steps/s  ETA 2.5s\n"));
}

TEST_F(ProgressTest, ABarOnATerminalThatIsWipedInTheEnd) {
  console_.err_is_terminal = true;
  progress_.Accepted(2, 10, 0, {});
  progress_.Update(0, 1);
  now_ += absl::Seconds(1);
  progress_.Update(0, 5);
  progress_.Update(1, 5);  // too soon to be drawn
  now_ += absl::Seconds(1);
  progress_.Update(1, 6);
  EXPECT_THAT(Text(), HasSubstr("\r[###############.............] step 5/10  5 steps/s  ETA 1.8s"));
  EXPECT_THAT(Text(), Not(HasSubstr("\n")));
  progress_.Clear();
  EXPECT_THAT(Text(), EndsWith("\r\x1b[K"));
}

TEST_F(ProgressTest, ANarrowTerminal) {
  console_.err_is_terminal = true;
  console_.columns = 20;
  progress_.Accepted(1, 10, 0, {});
  progress_.Update(0, 5);
  EXPECT_THAT(Text(), HasSubstr("[] step 5/10"));
}

TEST_F(ProgressTest, StatesThatWereLeftOutDoNotMatter) {
  progress_.Accepted(1, 10, 0, {});
  progress_.Update(0, 10);
  progress_.Update(0, 7);   // older
  progress_.Update(9, 10);  // no such sample
  EXPECT_EQ(Text(), "step 10/10\n");
}

TEST_F(ProgressTest, SaysWhatItWaitsFor) {
  progress_.Accepted(1, 10, 3, absl::Milliseconds(2510));
  EXPECT_EQ(Text(), "waiting behind 3 requests, about 2.5s\n");
}

TEST_F(ProgressTest, CountsWhatItIsTold) {
  Progress terms(
      &console_, [this] { return now_; }, "term");
  terms.Accepted(1, 10, 0, {});
  terms.Update(0, 1);
  now_ += absl::Seconds(1);
  terms.Update(0, 5);
  EXPECT_THAT(Text(), EndsWith("term 5/10  4 terms/s  ETA 1.2s\n"));
}

TEST_F(ProgressTest, Quiet) {
  console_.quiet = true;
  progress_.Accepted(1, 10, 3, {});
  progress_.Update(0, 10);
  EXPECT_EQ(Text(), "");
}

}  // namespace
}  // namespace denoise::cli
