#include "server/log/queued_sink.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spdlog/logger.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr size_t kMaxBytes = 4096;

class QueuedSinkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(pipe(ends_), 0);
    // A pipe's buffer and the queue hold less than what the tests write.
    ASSERT_GT(fcntl(ends_[1], F_SETPIPE_SZ, 4096), 0);
    logger_ =
        std::make_shared<spdlog::logger>("test", std::make_shared<QueuedSink>(ends_[1], kMaxBytes));
    logger_->set_pattern("%v");
  }
  void TearDown() override {
    logger_.reset();
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  void CloseEnd(int end) {
    close(ends_[end]);
    ends_[end] = -1;
  }
  // What there is, or nothing where the other end is closed.
  std::string Read() {
    char buffer[1024];
    const ssize_t count = read(ends_[0], buffer, sizeof(buffer));
    return std::string(buffer, count > 0 ? count : 0);
  }
  // Reads until the logger, which ends then, has nothing more to say.
  std::string ReadAll() {
    std::thread ender([this] {
      logger_.reset();
      CloseEnd(1);
    });
    std::string text;
    for (std::string part = Read(); !part.empty(); part = Read()) text += part;
    ender.join();
    return text;
  }

  int ends_[2] = {-1, -1};
  std::shared_ptr<spdlog::logger> logger_;
};

TEST_F(QueuedSinkTest, LinesArriveInOrder) {
  logger_->info("one");
  logger_->info("two");
  EXPECT_EQ(ReadAll(), "one\ntwo\n");
}

TEST_F(QueuedSinkTest, APipeThatNobodyReadsHoldsNobodyUpAndWhatIsLostIsCounted) {
  const std::string line(99, 'x');
  for (int i = 0; i < 1000; ++i) logger_->info(line);  // 100 KB: returns
  // There is room again once some of it has been read.
  std::string text;
  while (text.size() < 2000) text += Read();
  logger_->flush();  // waits a second at most: the pipe is full again
  logger_->info("after");
  text += ReadAll();
  EXPECT_THAT(text, StartsWith(line + "\n"));
  EXPECT_THAT(text, HasSubstr(" lines of the log were lost"));
  EXPECT_LT(text.size(), 20'000u);
}

TEST_F(QueuedSinkTest, APipeThatIsClosedIsNoReasonToStop) {
  signal(SIGPIPE, SIG_IGN);
  CloseEnd(0);
  logger_->info("to nobody");
  logger_->flush();
}

}  // namespace
}  // namespace denoise
