// Calls that report by callbacks.
#include <chrono>
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

constexpr auto kPatience = std::chrono::seconds(30);

class AsyncTest : public ::testing::Test {
 protected:
  AsyncTest() : client_(*Client::Connect(server_.address())) {}

  // What on_done says; UNKNOWN if it says nothing.
  static absl::Status Wait(std::future<absl::Status> done) {
    if (done.wait_for(kPatience) != std::future_status::ready) return absl::UnknownError("hangs");
    return done.get();
  }

  FakeServer server_;
  Client client_;
};

TEST_F(AsyncTest, EventsThenDone) {
  server_.on_sample = [](const v1::SampleRequest&) {
    return Script{Serialise(Chain(1, 2)), {}, false};
  };
  std::vector<size_t> kinds;
  std::promise<absl::Status> done;
  client_.SampleAsync({}, {.on_event = [&](Event event) { kinds.push_back(event.index()); },
                           .on_done = [&](absl::Status status) { done.set_value(status); }});
  EXPECT_TRUE(Wait(done.get_future()).ok());
  EXPECT_THAT(kinds, ElementsAre(0, 1, 1, 1, 2));
}

TEST_F(AsyncTest, APacedCallReadsWhenItIsTold) {
  server_.on_sample = [](const v1::SampleRequest&) {
    return Script{Serialise(Chain(1, 2)), {}, false};
  };
  std::promise<std::function<void()>> first;
  std::vector<size_t> kinds;
  std::promise<absl::Status> done;
  SampleCallbacks callbacks;
  callbacks.on_done = [&](absl::Status status) { done.set_value(status); };
  callbacks.on_event_paced = [&](Event event, std::function<void()> next) {
    kinds.push_back(event.index());
    kinds.size() == 1 ? first.set_value(std::move(next)) : next();
  };
  client_.SampleAsync({}, std::move(callbacks));
  auto waiting = first.get_future();
  ASSERT_EQ(waiting.wait_for(kPatience), std::future_status::ready);
  EXPECT_THAT(kinds, ElementsAre(0)) << "the next is not read before";
  waiting.get()();
  EXPECT_TRUE(Wait(done.get_future()).ok());
  EXPECT_THAT(kinds, ElementsAre(0, 1, 1, 1, 2));
}

TEST_F(AsyncTest, APacedCallThatIsCancelledEndsOnceItIsReadOn) {
  server_.on_sample = [](const v1::SampleRequest&) {
    return Script{Serialise(Chain(1, 2)), {}, true};
  };
  std::promise<std::function<void()>> first;
  std::promise<absl::Status> done;
  SampleCallbacks callbacks;
  callbacks.on_done = [&](absl::Status status) { done.set_value(status); };
  // Events that had come before the cancel may still be given; they are let go.
  bool held = false;
  callbacks.on_event_paced = [&](const Event&, std::function<void()> next) {
    std::exchange(held, true) ? next() : first.set_value(std::move(next));
  };
  const auto call = client_.SampleAsync({}, std::move(callbacks));
  auto waiting = first.get_future();
  ASSERT_EQ(waiting.wait_for(kPatience), std::future_status::ready);
  call.Cancel();
  auto ended = done.get_future();
  EXPECT_NE(ended.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  waiting.get()();
  EXPECT_EQ(Wait(std::move(ended)).code(), absl::StatusCode::kCancelled);
}

TEST_F(AsyncTest, TheCallOutlivesClientAndHandle) {
  std::promise<void> go;
  auto wait = go.get_future().share();
  server_.on_sample = [&](const v1::SampleRequest&) {
    return Script{Serialise(Chain(1, 2)), {}, false};
  };
  std::promise<absl::Status> done;
  {
    Client other = *Client::Connect(server_.address());
    other.SampleAsync({}, {.on_event = [wait](Event) { wait.wait(); },
                           .on_done = [&](absl::Status status) { done.set_value(status); }});
  }
  go.set_value();
  EXPECT_TRUE(Wait(done.get_future()).ok());
}

TEST_F(AsyncTest, TheHandleCancels) {
  server_.on_sample = [](const v1::SampleRequest&) { return Script{{}, {}, true}; };
  std::promise<absl::Status> done;
  const auto call = client_.SampleAsync(
      {}, {.on_event = {}, .on_done = [&](absl::Status status) { done.set_value(status); }});
  call.Cancel();
  EXPECT_EQ(Wait(done.get_future()).code(), absl::StatusCode::kCancelled);
  call.Cancel();  // does nothing any more
}

TEST_F(AsyncTest, CancelFromWithinACallback) {
  server_.on_sample = [](const v1::SampleRequest&) {
    return Script{{Chain(1, 2)[0].SerializeAsString()}, {}, true};
  };
  std::promise<AsyncCall> handle;
  auto handle_ready = handle.get_future().share();
  std::promise<absl::Status> done;
  handle.set_value(
      client_.SampleAsync({}, {.on_event = [handle_ready](Event) { handle_ready.get().Cancel(); },
                               .on_done = [&](absl::Status status) { done.set_value(status); }}));
  EXPECT_EQ(Wait(done.get_future()).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(server_.cancelled().wait_for(kPatience), std::future_status::ready);
}

TEST_F(AsyncTest, CallbacksAreDestroyedThoughTheHandleLives) {
  server_.on_sample = [](const v1::SampleRequest&) {
    return Script{Serialise(Chain(1, 1)), {}, false};
  };
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
    return Script{Serialise(events), {}, true};
  };
  std::promise<absl::Status> done;
  client_.SampleAsync(
      {}, {.on_event = {}, .on_done = [&](absl::Status status) { done.set_value(status); }});
  EXPECT_EQ(Wait(done.get_future()).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(server_.cancelled().wait_for(kPatience), std::future_status::ready);
}

TEST_F(AsyncTest, WhatCannotBeSentIsToldByOnDone) {
  std::promise<absl::Status> done;
  CallOptions options;
  options.metadata = {{"Bad Name", "x"}};
  client_.SampleAsync(
      {}, {.on_event = {}, .on_done = [&](absl::Status status) { done.set_value(status); }},
      options);
  EXPECT_EQ(Wait(done.get_future()).code(), absl::StatusCode::kInvalidArgument);
}

// With no server in the process, the client's channel is the last that uses gRPC's threads, and
// would be destroyed on one of them.
TEST(AsyncLifetimeTest, AClientThatIsDestroyedInItsOwnCallback) {
  std::string address;
  {
    FakeServer server;
    address = server.address();
  }
  for (int i = 0; i < 20; ++i) {
    ClientOptions options;
    options.connect_timeout = absl::ZeroDuration();
    auto client = std::make_shared<Client>(*Client::Connect(address, options));
    std::promise<absl::Status> done;
    auto* running = client.get();
    running->SampleAsync({}, {.on_event = [client](Event) {},
                              .on_done = [&done](absl::Status status) { done.set_value(status); }});
    client.reset();  // the callbacks alone hold it now
    auto future = done.get_future();
    ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
    EXPECT_TRUE(absl::IsUnavailable(future.get()));
  }
}

}  // namespace
}  // namespace denoise
