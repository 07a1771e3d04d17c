// Streams, read by a thread that waits.
#include <chrono>
#include <future>
#include <ranges>
#include <thread>
#include <variant>

#include "denoise/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

static_assert(std::ranges::input_range<SampleStream>);
static_assert(!std::copyable<SampleStream>);

constexpr auto kPatience = std::chrono::seconds(30);

class StreamTest : public ::testing::Test {
 protected:
  StreamTest() : client_(*Client::Connect(server_.address())) {}

  bool CancelReachesServer() {
    return server_.cancelled().wait_for(kPatience) == std::future_status::ready;
  }

  FakeServer server_;
  Client client_;
};

TEST_F(StreamTest, EventsComeInOrderAndTheStreamEnds) {
  server_.on_sample = [](const v1::SampleRequest& request) {
    return Script{Serialise(Chain(request.num_samples(), request.sampler().steps())), {}, false};
  };
  SampleRequest request;
  request.num_samples = 2;
  request.sampler.steps = 3;
  std::vector<size_t> kinds;
  std::vector<uint32_t> steps;
  std::optional<Result> result;
  for (auto& event : client_.Sample(request)) {
    ASSERT_TRUE(event.ok()) << event.status();
    kinds.push_back(event->index());
    if (auto* state = std::get_if<State>(&*event)) {
      if (state->sample_index == 1) steps.push_back(state->step);
      EXPECT_THAT(state->tensor.shape, ElementsAre(1, 1, 2, 2));
      EXPECT_EQ(state->tensor.values[3], state->step + 3.0f);
    }
    if (auto* accepted = std::get_if<Accepted>(&*event)) {
      EXPECT_EQ(accepted->seed, 42u);
      EXPECT_EQ(accepted->estimated_wait, absl::Milliseconds(500));
      EXPECT_THAT(accepted->timesteps, ElementsAre(2, 1, 0));
    }
    if (auto* last = std::get_if<Result>(&*event)) result = *last;
  }
  EXPECT_THAT(kinds, ElementsAre(0, 1, 1, 1, 1, 1, 1, 1, 1, 2));
  EXPECT_THAT(steps, ElementsAre(0, 1, 2, 3));
  ASSERT_TRUE(result.has_value());
  EXPECT_THAT(result->samples.values, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(result->timing.total, absl::Seconds(3));
  EXPECT_FALSE(result->timing.first_state.has_value());
  EXPECT_EQ(result->states_dropped, 2u);
  EXPECT_EQ(result->denoiser_rows, 6u);
}

TEST_F(StreamTest, PicturesArePassedOn) {
  server_.on_sample = [](const v1::SampleRequest&) {
    auto events = Chain(2, 1);
    events[1].mutable_state()->set_png("png of a state");
    auto* result = events.back().mutable_result();
    result->clear_samples();
    result->add_pngs("a");
    result->add_pngs("b");
    return Script{Serialise(events), {}, false};
  };
  SampleRequest request;
  request.num_samples = 2;
  request.encoding = Encoding::kPng;
  std::string png;
  std::vector<std::string> pngs;
  for (auto& event : client_.Sample(request)) {
    ASSERT_TRUE(event.ok()) << event.status();
    if (auto* state = std::get_if<State>(&*event); state != nullptr && png.empty()) {
      png = state->png;
    }
    if (auto* result = std::get_if<Result>(&*event)) pngs = result->pngs;
  }
  EXPECT_EQ(png, "png of a state");
  EXPECT_THAT(pngs, ElementsAre("a", "b"));
}

TEST_F(StreamTest, CancelFromAnotherThreadWakesTheReaderAndReachesTheServer) {
  server_.on_sample = [](const v1::SampleRequest&) {
    return Script{{Chain(1, 4)[0].SerializeAsString()}, {}, true};
  };
  auto stream = client_.Sample({});
  auto it = stream.begin();
  ASSERT_TRUE(it->ok());
  std::thread other([&] { stream.Cancel(); });
  ++it;  // waits for an event that never comes
  other.join();
  ASSERT_NE(it, stream.end());
  EXPECT_EQ(it->status().code(), absl::StatusCode::kCancelled);
  ++it;
  EXPECT_EQ(it, stream.end());
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(StreamTest, DestructionMidStreamCancelsOnTheServer) {
  server_.on_sample = [](const v1::SampleRequest&) {
    return Script{{Chain(1, 4)[0].SerializeAsString()}, {}, true};
  };
  {
    auto stream = client_.Sample({});
    ASSERT_TRUE(stream.begin()->ok());
  }
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(StreamTest, DestructionWithAnEventUnreadCancelsOnTheServer) {
  server_.on_sample = [](const v1::SampleRequest&) {
    auto events = Chain(1, 4);
    events.resize(3);
    return Script{Serialise(events), {}, true};
  };
  {
    auto stream = client_.Sample({});
    ASSERT_TRUE(stream.begin()->ok());  // two more lie ready, or are on their way
  }
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(StreamTest, AStreamThatIsNeverReadIsCancelled) {
  server_.on_sample = [](const v1::SampleRequest&) {
    return Script{{Chain(1, 4)[0].SerializeAsString()}, {}, true};
  };
  std::promise<void> asked;
  auto script = server_.on_sample;
  server_.on_sample = [&](const v1::SampleRequest& request) {
    asked.set_value();
    return script(request);
  };
  {
    auto stream = client_.Sample({});
    ASSERT_EQ(asked.get_future().wait_for(kPatience), std::future_status::ready)
        << "the call begins before it is read";
  }
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(StreamTest, MovingAStreamKeepsTheCall) {
  server_.on_sample = [](const v1::SampleRequest&) {
    return Script{Serialise(Chain(1, 1)), {}, false};
  };
  auto stream = client_.Sample({});
  ASSERT_TRUE(stream.begin()->ok());
  SampleStream moved = std::move(stream);
  int count = 0;
  for (auto& event : moved) {
    ASSERT_TRUE(event.ok()) << event.status();
    ++count;
  }
  EXPECT_EQ(count, 4);
}

TEST_F(StreamTest, AssignmentCancelsWhatWasThere) {
  server_.on_sample = [](const v1::SampleRequest& request) {
    if (request.model() == "held") return Script{{Chain(1, 1)[0].SerializeAsString()}, {}, true};
    return Script{Serialise(Chain(1, 1)), {}, false};
  };
  SampleRequest held;
  held.model = "held";
  auto stream = client_.Sample(held);
  ASSERT_TRUE(stream.begin()->ok());
  stream = client_.Sample({});
  EXPECT_TRUE(CancelReachesServer());
  int count = 0;
  for (auto& event : stream) count += event.ok();
  EXPECT_EQ(count, 4);
}

TEST_F(StreamTest, AReaderThatStopsHoldsTheServerUp) {
  // Far more than flow control lets through unread.
  constexpr int kStates = 2000;
  server_.on_sample = [](const v1::SampleRequest&) {
    auto events = Chain(1, 1);
    auto* state = events[1].mutable_state();
    *state->mutable_tensor() = MakeTensor({1, 1, 64, 64}, 0);
    Script script{{events[0].SerializeAsString()}, {}, false};
    script.messages.insert(script.messages.end(), kStates, events[1].SerializeAsString());
    script.messages.push_back(events.back().SerializeAsString());
    return script;
  };
  auto stream = client_.Sample({});
  auto it = stream.begin();
  ++it;
  EXPECT_LT(server_.written(), kStates);
  int states = 0;
  for (; it != stream.end(); ++it) {
    ASSERT_TRUE(it->ok()) << it->status();
    states += std::holds_alternative<State>(**it);
  }
  EXPECT_EQ(states, kStates) << "nothing is lost";
}

TEST_F(StreamTest, ADeadlineEndsTheCallHereAndThere) {
  server_.on_sample = [](const v1::SampleRequest&) { return Script{{}, {}, true}; };
  CallOptions options;
  options.timeout = absl::Milliseconds(50);
  const auto result = client_.SampleAndWait({}, options);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(StreamTest, DiffuseGivesEveryState) {
  server_.on_diffuse = [](const v1::DiffuseRequest& request) {
    EXPECT_TRUE(request.chain());
    EXPECT_EQ(request.seed(), 3u);
    Script script;
    v1::DiffuseEvent event;
    auto* accepted = event.mutable_accepted();
    for (const uint32_t t : request.timesteps()) {
      accepted->add_timesteps(static_cast<float>(t));
      accepted->add_alpha_bars(0.5f);
    }
    script.messages.push_back(event.SerializeAsString());
    for (const uint32_t t : request.timesteps()) {
      event.mutable_state()->set_timestep(static_cast<float>(t));
      event.mutable_state()->set_content(v1::CONTENT_X_T);
      *event.mutable_state()->mutable_tensor() = request.x_0();
      script.messages.push_back(event.SerializeAsString());
    }
    return script;
  };
  DiffuseRequest request;
  request.x_0 = {{1, 1, 1, 2}, {0.5f, -1}};
  request.timesteps = {0, 10, 999};
  request.chain = true;
  request.seed = 3;
  std::vector<float> timesteps;
  for (auto& event : client_.Diffuse(request)) {
    ASSERT_TRUE(event.ok()) << event.status();
    if (auto* state = std::get_if<State>(&*event)) {
      timesteps.push_back(state->timestep);
      EXPECT_THAT(state->tensor.values, ElementsAre(0.5f, -1));
    }
  }
  EXPECT_THAT(timesteps, ElementsAre(0, 10, 999));
}

TEST_F(StreamTest, DiffuseWithStatesMissingIsDataLoss) {
  server_.on_diffuse = [](const v1::DiffuseRequest&) {
    v1::DiffuseEvent event;
    event.mutable_accepted()->add_timesteps(0);
    event.mutable_accepted()->add_alpha_bars(1);
    return Script{{event.SerializeAsString()}, {}, false};
  };
  DiffuseRequest request;
  request.x_0 = {{1, 1, 1, 1}, {0}};
  request.timesteps = {0};
  absl::Status status;
  for (auto& event : client_.Diffuse(request)) status = event.status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1 states missing"));
}

}  // namespace
}  // namespace denoise
