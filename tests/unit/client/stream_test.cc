// Streams, read by a thread that waits.
#include <future>
#include <ranges>
#include <thread>
#include <variant>

#include "denoise/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/text_proto.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

static_assert(std::ranges::input_range<SampleStream>);
static_assert(!std::copyable<SampleStream>);

using StreamTest = WireTest;

TEST_F(StreamTest, EventsComeInOrderAndTheStreamEnds) {
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
    return Answer(events);
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
  server_.HoldAfter(1);
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
  server_.HoldAfter(1);
  {
    auto stream = client_.Sample({});
    ASSERT_TRUE(stream.begin()->ok());
  }
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(StreamTest, DestructionWithAnEventUnreadCancelsOnTheServer) {
  server_.HoldAfter(3);
  {
    auto stream = client_.Sample({});
    ASSERT_TRUE(stream.begin()->ok());  // two more lie ready, or are on their way
  }
  EXPECT_TRUE(CancelReachesServer());
}

TEST_F(StreamTest, AStreamThatIsNeverReadIsCancelled) {
  server_.HoldAfter(1);
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
  auto stream = client_.Sample({});
  ASSERT_TRUE(stream.begin()->ok());
  SampleStream moved = std::move(stream);
  int count = 0;
  for (auto& event : moved) {
    ASSERT_TRUE(event.ok()) << event.status();
    ++count;
  }
  EXPECT_EQ(count, 5);
}

TEST_F(StreamTest, AssignmentCancelsWhatWasThere) {
  server_.on_sample = [](const v1::SampleRequest& request) {
    Script script = Answer(Chain(1, 1));
    script.hold = request.model() == "held";
    return script;
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
    events.insert(events.begin() + 1, kStates - 2, events[1]);
    return Answer(events);
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
  server_.HoldAfter(0);
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
    std::vector<v1::DiffuseEvent> events(1);
    for (const uint32_t t : request.timesteps()) {
      events[0].mutable_accepted()->add_timesteps(static_cast<float>(t));
      events[0].mutable_accepted()->add_alpha_bars(0.5f);
      auto* state = events.emplace_back().mutable_state();
      state->set_timestep(static_cast<float>(t));
      state->set_content(v1::CONTENT_X_T);
      *state->mutable_tensor() = request.x_0();
    }
    return Answer(events);
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
    return Answer(std::vector{Proto<v1::DiffuseEvent>("accepted { timesteps: 0 alpha_bars: 1 }")});
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
