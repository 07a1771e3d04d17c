#include "client/viewer/run_stream.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/mock_connection.h"

namespace denoise::viewer {
namespace {

using ::testing::_;
using ::testing::ByMove;
using ::testing::HasSubstr;
using ::testing::Return;

// Gives nothing until it is cancelled.
class Waiting : public EventSource<Event> {
 public:
  explicit Waiting(bool* cancelled) : cancelled_(cancelled) {}
  std::optional<absl::StatusOr<Event>> Next() override {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return *cancelled_; });
    return absl::CancelledError("");
  }
  void Cancel() override {
    std::lock_guard<std::mutex> lock(mutex_);
    *cancelled_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool* const cancelled_;
};

std::string AllOf(RunStream& run) {
  std::string text;
  while (run.Take(absl::Seconds(10), &text) == RunStream::Took::kEvents) {
  }
  return text;
}

TEST(RunStreamTest, GivesAllEventsInOrder) {
  auto connection = std::make_shared<MockConnection>();
  Accepted accepted;
  accepted.seed = 5;
  std::vector<absl::StatusOr<Event>> events = {accepted};
  for (uint32_t i = 0; i < 1000; ++i) {  // more than are held ahead
    State state;
    state.step = i;
    events.push_back(state);
  }
  events.push_back(absl::UnavailableError("the server has gone"));
  EXPECT_CALL(*connection, Sample(_, _))
      .WillOnce(Return(ByMove(SampleStream(std::make_unique<ListedEvents<Event>>(events)))));
  RunStream run(Client(connection), SampleRequest{});
  const std::string text = AllOf(run);
  size_t from = 0;
  for (const std::string& what :
       {std::string("\"seed\":5"), std::string("\"step\":0,"), std::string("\"step\":999,"),
        std::string("the server has gone")}) {
    from = text.find(what, from);
    EXPECT_NE(from, std::string::npos) << what;
  }
  EXPECT_THAT(text, HasSubstr("\"code\":\"UNAVAILABLE\""));
}

TEST(RunStreamTest, CancelsItsCallWhereItEndsEarly) {
  auto connection = std::make_shared<MockConnection>();
  bool cancelled = false;
  EXPECT_CALL(*connection, Sample(_, _))
      .WillRepeatedly([&](const SampleRequest&, const CallOptions&) {
        return SampleStream(std::make_unique<Waiting>(&cancelled));
      });
  {
    RunStream run(Client(connection), SampleRequest{});
    std::string text;
    EXPECT_EQ(run.Take(absl::Milliseconds(20), &text), RunStream::Took::kNothingYet);
  }
  EXPECT_TRUE(cancelled);
}

}  // namespace
}  // namespace denoise::viewer
