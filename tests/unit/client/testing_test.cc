// The fake that callers' tests use.
#include "denoise/testing.h"

#include <array>
#include <future>
#include <utility>

#include "denoise/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/done.h"

namespace denoise {
namespace {

using testing::ChainOf;
using ::testing::ElementsAre;
using testing::FakeConnection;
using testing::Script;

constexpr std::array<int64_t, 3> kShape = {1, 2, 2};

class FakeConnectionTest : public ::testing::Test {
 protected:
  const std::shared_ptr<FakeConnection> server_ = std::make_shared<FakeConnection>();
  Client client_{server_};
};

TEST_F(FakeConnectionTest, AnswersAChain) {
  server_->on_sample = [](const SampleRequest& request, const CallOptions& options) {
    EXPECT_EQ(options.request_id, "r-1");
    return Script<Event>{.events = ChainOf(request, kShape, 4)};
  };
  SampleRequest request;
  request.num_samples = 2;
  request.seed = 9;
  request.states = {.every_n_steps = 3, .steps = {0}, .content = {Content::kXt}};
  CallOptions options;
  options.request_id = "r-1";
  std::vector<uint32_t> steps;
  std::optional<Result> result;
  for (auto& event : client_.Sample(request, options)) {
    ASSERT_TRUE(event.ok());
    if (auto* accepted = std::get_if<Accepted>(&*event)) {
      EXPECT_EQ(accepted->seed, 9u);
      EXPECT_EQ(accepted->timesteps.size(), 4u);
      EXPECT_EQ(accepted->alpha_bars.size(), 5u);
    } else if (auto* state = std::get_if<State>(&*event)) {
      EXPECT_THAT(state->tensor.shape, ElementsAre(1, 1, 2, 2));
      EXPECT_EQ(state->tensor.values.size(), 4u);
      if (state->sample_index == 1) steps.push_back(state->step);
    } else {
      result = std::get<Result>(*event);
    }
  }
  EXPECT_THAT(steps, ElementsAre(0, 3, 4));
  ASSERT_TRUE(result.has_value());
  EXPECT_THAT(result->samples.shape, ElementsAre(2, 1, 2, 2));
  EXPECT_EQ(result->samples.values.size(), 8u);

  request.encoding = Encoding::kPng;
  EXPECT_EQ(client_.SampleAndWait(request, options)->pngs.size(), 2u);
}

TEST_F(FakeConnectionTest, ErrorsWithTheirDetails) {
  ErrorDetails details;
  details.field_violations = {{"sampler.steps", "1001 is too many"}};
  details.retry_delay = absl::Milliseconds(1500);
  details.reason = "QUEUE_FULL";
  details.domain = "denoise.v1";
  details.metadata = {{"waiting", "256"}};
  server_->on_sample = [&](const SampleRequest&, const CallOptions&) {
    return Script<Event>{.events = {},
                         .status = WithDetails(absl::ResourceExhaustedError("full"), details)};
  };
  const auto status = client_.SampleAndWait({}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  const ErrorDetails read = DetailsOf(status);
  ASSERT_EQ(read.field_violations.size(), 1u);
  EXPECT_EQ(read.field_violations[0].field, "sampler.steps");
  EXPECT_EQ(read.retry_delay, absl::Milliseconds(1500));
  EXPECT_EQ(read.reason, "QUEUE_FULL");
  EXPECT_EQ(read.domain, "denoise.v1");
  EXPECT_EQ(read.metadata.at("waiting"), "256");
}

TEST_F(FakeConnectionTest, WhatIsNotSetIsUnimplemented) {
  EXPECT_TRUE(absl::IsUnimplemented(client_.SampleAndWait({}).status()));
  EXPECT_TRUE(absl::IsUnimplemented(client_.EvaluateAndWait({}).status()));
  for (auto& event : client_.Diffuse({})) EXPECT_TRUE(absl::IsUnimplemented(event.status()));
}

TEST_F(FakeConnectionTest, AHeldCallWaitsForItsCancel) {
  server_->on_sample = [](const SampleRequest& request, const CallOptions&) {
    auto events = ChainOf(request, kShape, 4);
    events.resize(1);
    return Script<Event>{.events = std::move(events), .hold = true};
  };
  SampleStream stream = client_.Sample({});
  auto end = std::async(std::launch::async, [&] {
    absl::Status status;
    for (auto& event : stream) status = event.status();
    return status;
  });
  stream.Cancel();
  EXPECT_TRUE(absl::IsCancelled(end.get()));
  EXPECT_EQ(server_->cancelled(), 1);

  { const SampleStream dropped = client_.Sample({}); }
  EXPECT_EQ(server_->cancelled(), 2) << "as with a real one";

  std::promise<void> accepted;
  Done done;
  const AsyncCall call = client_.SampleAsync(
      {}, {.on_event = [&](Event) { accepted.set_value(); }, .on_done = done.Hear()});
  accepted.get_future().get();
  call.Cancel();
  EXPECT_TRUE(absl::IsCancelled(done.Wait()));
  call.Cancel();  // harmless
  EXPECT_EQ(server_->cancelled(), 3);
}

TEST_F(FakeConnectionTest, PacedCallbacksWait) {
  server_->on_sample = [](const SampleRequest& request, const CallOptions&) {
    return Script<Event>{.events = ChainOf(request, kShape, 4)};
  };
  int events = 0;
  std::promise<std::function<void()>> first;
  Done done;
  client_.SampleAsync({}, {.on_event = nullptr,
                           .on_done = done.Hear(),
                           .on_event_paced = [&](Event, std::function<void()> next) {
                             if (++events == 1) return first.set_value(next);
                             next();
                           }});
  const auto next = first.get_future().get();
  EXPECT_EQ(events, 1);
  next();
  EXPECT_TRUE(done.Wait().ok());
  EXPECT_EQ(events, 2);
}

TEST_F(FakeConnectionTest, ModelsAndHealth) {
  EXPECT_TRUE(absl::IsNotFound(client_.GetModel().status()));
  server_->models.resize(2);
  server_->models[0].name = server_->models[1].name = "digits";
  server_->models[0].version = 1;
  server_->models[1].version = 2;
  EXPECT_EQ(client_.ListModels()->size(), 2u);
  EXPECT_EQ(client_.GetModel("digits")->version, 2);
  EXPECT_EQ(client_.GetModel("digits", 1)->version, 1);
  EXPECT_TRUE(absl::IsNotFound(client_.GetModel().status())) << "two are served";
  EXPECT_TRUE(absl::IsNotFound(client_.GetModel("cats").status()));
  EXPECT_TRUE(*client_.Healthy("digits"));
  EXPECT_TRUE(absl::IsNotFound(client_.Healthy("cats").status()));
  server_->healthy = false;
  EXPECT_FALSE(*client_.Healthy());
}

}  // namespace
}  // namespace denoise
