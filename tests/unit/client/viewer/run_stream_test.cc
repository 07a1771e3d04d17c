#include "client/viewer/run_stream.h"

#include <memory>

#include "denoise/testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise::viewer {
namespace {

using testing::FakeConnection;
using ::testing::HasSubstr;
using testing::Script;

std::string AllOf(RunStream& run) {
  std::string text;
  while (run.Take(absl::Seconds(10), &text) == RunStream::Took::kEvents) {
  }
  return text;
}

TEST(RunStreamTest, GivesAllEventsInOrder) {
  Accepted accepted;
  accepted.seed = 5;
  Script<Event> script = {.events = {accepted},
                          .status = absl::UnavailableError("the server has gone")};
  for (uint32_t i = 0; i < 1000; ++i) {  // more than are held ahead
    State state;
    state.step = i;
    script.events.push_back(state);
  }
  const auto server = std::make_shared<FakeConnection>();
  server->on_sample = [&](auto&&...) { return script; };
  RunStream run(Client(server), SampleRequest{});
  const std::string text = AllOf(run);
  size_t from = 0;
  for (const char* what : {"\"seed\":5", "\"step\":0,", "\"step\":999,", "the server has gone"}) {
    from = text.find(what, from);
    EXPECT_NE(from, std::string::npos) << what;
  }
  EXPECT_THAT(text, HasSubstr("\"code\":\"UNAVAILABLE\""));
}

TEST(RunStreamTest, CancelsItsCallWhereItEndsEarly) {
  const auto server = std::make_shared<FakeConnection>();
  server->on_sample = [](auto&&...) { return Script<Event>{.hold = true}; };
  {
    RunStream run(Client(server), SampleRequest{});
    std::string text;
    EXPECT_EQ(run.Take(absl::Milliseconds(20), &text), RunStream::Took::kNothingYet);
  }
  EXPECT_EQ(server->cancelled(), 1);
}

}  // namespace
}  // namespace denoise::viewer
