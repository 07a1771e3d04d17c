// Calls that report by callbacks.
#include <functional>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "denoise/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;

using AsyncTest = WireTest;

TEST_F(AsyncTest, EventsThenDone) {
  std::vector<size_t> kinds;
  Done done;
  client_.SampleAsync({}, {.on_event = [&](Event event) { kinds.push_back(event.index()); },
                           .on_done = done.Hear()});
  EXPECT_TRUE(done.Wait().ok());
  EXPECT_THAT(kinds, ElementsAre(0, 1, 1, 1, 2));
}

TEST_F(AsyncTest, APacedCallReadsWhenItIsTold) {
  std::promise<std::function<void()>> first;
  std::vector<size_t> kinds;
  Done done;
  SampleCallbacks callbacks;
  callbacks.on_done = done.Hear();
  callbacks.on_event_paced = [&](Event event, std::function<void()> next) {
    kinds.push_back(event.index());
    kinds.size() == 1 ? first.set_value(std::move(next)) : next();
  };
  client_.SampleAsync({}, std::move(callbacks));
  auto waiting = first.get_future();
  ASSERT_EQ(waiting.wait_for(kPatience), std::future_status::ready);
  EXPECT_THAT(kinds, ElementsAre(0)) << "the next is not read before";
  waiting.get()();
  EXPECT_TRUE(done.Wait().ok());
  EXPECT_THAT(kinds, ElementsAre(0, 1, 1, 1, 2));
}

TEST_F(AsyncTest, APacedCallThatIsCancelledEndsOnceItIsReadOn) {
  server_.HoldAfter(5);
  std::promise<std::function<void()>> first;
  Done done;
  SampleCallbacks callbacks;
  callbacks.on_done = done.Hear();
  // Events that had come before the cancel may still be given; they are let go.
  bool held = false;
  callbacks.on_event_paced = [&](const Event&, std::function<void()> next) {
    std::exchange(held, true) ? next() : first.set_value(std::move(next));
  };
  const auto call = client_.SampleAsync({}, std::move(callbacks));
  auto waiting = first.get_future();
  ASSERT_EQ(waiting.wait_for(kPatience), std::future_status::ready);
  call.Cancel();
  EXPECT_FALSE(done.IsReady());
  waiting.get()();
  EXPECT_TRUE(absl::IsCancelled(done.Wait()));
}

TEST_F(AsyncTest, TheCallOutlivesClientAndHandle) {
  std::promise<void> go;
  auto wait = go.get_future().share();
  Done done;
  {
    Client other = *Client::Connect(server_.address());
    other.SampleAsync({}, {.on_event = [wait](Event) { wait.wait(); }, .on_done = done.Hear()});
  }
  go.set_value();
  EXPECT_TRUE(done.Wait().ok());
}

TEST_F(AsyncTest, TheHandleCancels) {
  server_.HoldAfter(0);
  Done done;
  const auto call = client_.SampleAsync({}, {.on_event = {}, .on_done = done.Hear()});
  call.Cancel();
  EXPECT_TRUE(absl::IsCancelled(done.Wait()));
  call.Cancel();  // does nothing any more
}

TEST_F(AsyncTest, CancelFromWithinACallback) {
  server_.HoldAfter(1);
  std::promise<AsyncCall> handle;
  auto handle_ready = handle.get_future().share();
  Done done;
  handle.set_value(
      client_.SampleAsync({}, {.on_event = [handle_ready](Event) { handle_ready.get().Cancel(); },
                               .on_done = done.Hear()}));
  EXPECT_TRUE(absl::IsCancelled(done.Wait()));
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(AsyncTest, CallbacksAreDestroyedThoughTheHandleLives) {
  struct Guard {
    explicit Guard(std::promise<void>* p) : gone(p) {}
    std::promise<void>* gone;
    ~Guard() { gone->set_value(); }
  };
  std::promise<void> gone;
  auto guard = std::make_shared<Guard>(&gone);
  const auto call = client_.SampleAsync({}, {.on_event = [guard](Event) {}, .on_done = {}});
  guard.reset();
  EXPECT_EQ(gone.get_future().wait_for(kPatience), std::future_status::ready);
}

TEST_F(AsyncTest, AMalformedEventEndsTheCall) {
  server_.on_sample = [](const v1::SampleRequest&) {
    auto events = Chain(1, 1);
    events[1].mutable_state()->set_sample_index(9);
    Script script = Answer(events);
    script.hold = true;
    return script;
  };
  Done done;
  client_.SampleAsync({}, {.on_event = {}, .on_done = done.Hear()});
  EXPECT_TRUE(absl::IsDataLoss(done.Wait()));
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(AsyncTest, WhatCannotBeSentIsToldByOnDone) {
  Done done;
  CallOptions options;
  options.metadata = {{"Bad Name", "x"}};
  client_.SampleAsync({}, {.on_event = {}, .on_done = done.Hear()}, options);
  EXPECT_TRUE(absl::IsInvalidArgument(done.Wait()));
}

// With no server in the process, the client's channel is the last that uses gRPC's threads, and
// would be destroyed on one of them.
TEST(AsyncLifetimeTest, AClientThatIsDestroyedInItsOwnCallback) {
  const std::string address = AddressOfNobody();
  for (int i = 0; i < 20; ++i) {
    ClientOptions options;
    options.connect_timeout = absl::ZeroDuration();
    auto client = std::make_shared<Client>(*Client::Connect(address, options));
    Done done;
    auto* running = client.get();
    running->SampleAsync({}, {.on_event = [client](Event) {}, .on_done = done.Hear()});
    client.reset();  // the callbacks alone hold it now
    EXPECT_TRUE(absl::IsUnavailable(done.Wait()));
  }
}

}  // namespace
}  // namespace denoise
