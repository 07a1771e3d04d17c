#include "server/engine/event_stream.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/fake_clock.h"

namespace denoise {
namespace {

using std::chrono::seconds;

StateEvent State(uint32_t sample, uint32_t step, Content content = Content::kXt) {
  StateEvent state;
  state.sample_index = sample;
  state.step = step;
  state.content = content;
  state.values.assign(4, static_cast<float>(step));
  return state;
}

constexpr size_t kStateBytes = sizeof(StateEvent) + 4 * sizeof(float);

class EventStreamTest : public ::testing::Test {
 protected:
  EventStream::Options Options(size_t states_pending, uint32_t samples = 1) {
    EventStream::Options options;
    options.num_samples = samples;
    options.values_per_sample = 4;
    options.max_pending_bytes = states_pending * kStateBytes;
    options.arrival = clock_.Now();
    return options;
  }
  static std::vector<uint32_t> Steps(EventStream& stream) {
    std::vector<uint32_t> steps;
    while (auto event = stream.Take()) {
      if (auto* state = std::get_if<StateEvent>(&*event)) steps.push_back(state->step);
    }
    return steps;
  }
  FakeClock clock_;
};

TEST_F(EventStreamTest, StatesInOrderThenTheResult) {
  EventStream stream(Options(10, 2), &clock_);
  clock_.Advance(seconds(1));
  EXPECT_TRUE(stream.Activate());
  EXPECT_FALSE(stream.Activate());
  stream.Publish(State(0, 1));
  stream.Publish(State(1, 1));
  clock_.Advance(seconds(2));
  stream.AddRows(5);
  EXPECT_FALSE(stream.Finish(1, std::vector<float>(4, 7.f)));
  stream.AddRows(5);
  EXPECT_FALSE(stream.ended());
  EXPECT_TRUE(stream.Finish(0, std::vector<float>(4, 3.f)));
  EXPECT_TRUE(stream.ended());
  clock_.Advance(seconds(4));

  EXPECT_EQ(std::get<StateEvent>(*stream.Take()).sample_index, 0u);
  EXPECT_EQ(std::get<StateEvent>(*stream.Take()).sample_index, 1u);
  const auto result = std::get<ResultEvent>(*stream.Take());
  EXPECT_THAT(result.samples, ::testing::ElementsAre(3, 3, 3, 3, 7, 7, 7, 7));
  EXPECT_EQ(result.denoiser_rows, 10u);
  EXPECT_EQ(result.states_dropped, 0u);
  EXPECT_DOUBLE_EQ(result.queue_seconds, 1);
  EXPECT_DOUBLE_EQ(result.sampling_seconds, 2);
  EXPECT_DOUBLE_EQ(*result.first_state_seconds, 7);
  EXPECT_DOUBLE_EQ(result.total_seconds, 7);
  EXPECT_FALSE(stream.Take().has_value());
}

TEST_F(EventStreamTest, SlowReaderLosesTheOldestAndNeverTheNewest) {
  EventStream stream(Options(3), &clock_);
  for (uint32_t step = 1; step <= 10; ++step) stream.Publish(State(0, step));
  stream.Finish(0, std::vector<float>(4));
  EXPECT_EQ(stream.states_dropped(), 7u);
  EXPECT_THAT(Steps(stream), ::testing::ElementsAre(8, 9, 10));
}

TEST_F(EventStreamTest, TheNewestOfEverySampleAndContentIsKeptBeyondTheBudget) {
  EventStream stream(Options(1, 3), &clock_);
  for (uint32_t step = 1; step <= 5; ++step) {
    for (uint32_t sample = 0; sample < 3; ++sample) {
      stream.Publish(State(sample, step, Content::kXt));
      stream.Publish(State(sample, step, Content::kPredictedX0));
    }
  }
  EXPECT_THAT(Steps(stream), ::testing::ElementsAre(5, 5, 5, 5, 5, 5));
  EXPECT_EQ(stream.states_dropped(), 24u);
}

TEST_F(EventStreamTest, LosslessAsksTheEnginesToWait) {
  EventStream::Options options = Options(4);
  options.lossless = true;
  EventStream stream(options, &clock_);
  int wakes = 0;
  stream.OnRoom([&] { ++wakes; });
  uint32_t step = 0;
  while (stream.HasRoom()) stream.Publish(State(0, ++step));
  EXPECT_EQ(step, 5u);  // the one that went over
  EXPECT_EQ(std::get<StateEvent>(*stream.Take()).step, 1u);
  EXPECT_FALSE(stream.HasRoom());
  (void)stream.Take();
  (void)stream.Take();
  EXPECT_TRUE(stream.HasRoom());
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(stream.states_dropped(), 0u);
}

TermEvent TermAt(uint32_t timestep, size_t samples) {
  TermEvent term;
  term.timestep = timestep;
  term.bits_per_dim.assign(samples, 1);
  term.eps_mse.assign(samples, 2);
  term.x_0_mse.assign(samples, 3);
  return term;
}

TEST_F(EventStreamTest, TermsComeInOrderAndBeforeTheResult) {
  EventStream::Options options = Options(100, 2);
  options.keep_samples = false;
  options.lossless = true;
  EventStream stream(options, &clock_);
  int ready = 0;
  stream.OnReady([&] { ++ready; });
  for (uint32_t t = 5; t-- > 0;) stream.Publish(TermAt(t, 2));
  EXPECT_EQ(ready, 1);
  stream.Finish(0, {});
  stream.Finish(1, {});
  for (uint32_t t = 5; t-- > 0;) {
    const auto term = std::get<TermEvent>(*stream.Take());
    EXPECT_EQ(term.timestep, t);
    EXPECT_THAT(term.x_0_mse, ::testing::ElementsAre(3, 3));
  }
  const auto result = std::get<ResultEvent>(*stream.Take());
  EXPECT_TRUE(result.samples.empty());
  EXPECT_FALSE(result.first_state_seconds.has_value());
}

TEST_F(EventStreamTest, TermsCountAgainstTheRoom) {
  EventStream::Options options = Options(0, 10);
  options.lossless = true;
  options.max_pending_bytes = 3 * (sizeof(TermEvent) + 10 * 3 * sizeof(double));
  EventStream stream(options, &clock_);
  int wakes = 0;
  stream.OnRoom([&] { ++wakes; });
  uint32_t terms = 0;
  while (stream.HasRoom()) stream.Publish(TermAt(++terms, 10));
  EXPECT_EQ(terms, 4u);
  while (!stream.HasRoom()) EXPECT_TRUE(stream.Take().has_value());
  EXPECT_EQ(wakes, 1);
}

TEST_F(EventStreamTest, TermsAreNeverDropped) {
  EventStream stream(Options(1), &clock_);
  for (uint32_t i = 1; i <= 4; ++i) {
    stream.Publish(State(0, i));
    stream.Publish(TermAt(i, 1));
  }
  std::vector<uint32_t> terms;
  std::vector<uint32_t> steps;
  while (const auto event = stream.Take()) {
    if (const auto* term = std::get_if<TermEvent>(&*event)) terms.push_back(term->timestep);
    if (const auto* state = std::get_if<StateEvent>(&*event)) steps.push_back(state->step);
  }
  EXPECT_THAT(terms, ::testing::ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(steps, ::testing::ElementsAre(4));
  EXPECT_EQ(stream.states_dropped(), 3u);
}

TEST_F(EventStreamTest, DeclinesWhatWouldOnlyPushOutAnOlderStateOfItsKind) {
  constexpr size_t bytes = 4 * sizeof(float);
  EventStream stream(Options(1), &clock_);
  EXPECT_FALSE(stream.Decline(0, Content::kXt, bytes)) << "nothing waits";
  stream.Publish(State(0, 1));
  EXPECT_TRUE(stream.Decline(0, Content::kXt, bytes));
  EXPECT_FALSE(stream.Decline(1, Content::kXt, bytes)) << "of another sample";
  EXPECT_FALSE(stream.Decline(0, Content::kPredictedX0, bytes)) << "of another content";
  EXPECT_EQ(stream.states_dropped(), 1u);
  EXPECT_EQ(std::get<StateEvent>(*stream.Take()).step, 1u);
  EXPECT_FALSE(stream.Decline(0, Content::kXt, bytes)) << "the reader has taken it";

  EventStream roomy(Options(2), &clock_);
  roomy.Publish(State(0, 1));
  EXPECT_FALSE(roomy.Decline(0, Content::kXt, bytes)) << "both have room";

  EventStream::Options options = Options(1);
  options.lossless = true;
  EventStream lossless(options, &clock_);
  lossless.Publish(State(0, 1));
  EXPECT_FALSE(lossless.Decline(0, Content::kXt, bytes));
}

TEST_F(EventStreamTest, AfterTheEndThereAreNoTerms) {
  EventStream stream(Options(10), &clock_);
  stream.Publish(TermAt(2, 1));
  stream.Cancel(absl::CancelledError("c"));
  stream.Publish(TermAt(1, 1));
  EXPECT_TRUE(std::holds_alternative<absl::Status>(*stream.Take()));
  EXPECT_FALSE(stream.Take().has_value());
}

TEST_F(EventStreamTest, ReadyIsSaidOnceUntilTheReaderCameBackEmptyHanded) {
  EventStream stream(Options(10), &clock_);
  int ready = 0;
  stream.OnReady([&] { ++ready; });
  stream.Publish(State(0, 1));
  stream.Publish(State(0, 2));
  EXPECT_EQ(ready, 1);
  (void)stream.Take();
  stream.Publish(State(0, 3));
  EXPECT_EQ(ready, 1);
  while (stream.Take().has_value()) {
  }
  stream.Finish(0, std::vector<float>(4));
  EXPECT_EQ(ready, 2);
}

TEST_F(EventStreamTest, TheFirstTerminalEventWins) {
  EventStream stream(Options(10), &clock_);
  int woken = 0;
  stream.OnCancel([&] { ++woken; });
  stream.Publish(State(0, 1));
  EXPECT_TRUE(stream.Fail(absl::InternalError("a")));
  EXPECT_TRUE(stream.ended());
  EXPECT_EQ(woken, 1);
  EXPECT_FALSE(stream.Fail(absl::InternalError("b")));
  stream.Cancel(absl::CancelledError("c"));
  EXPECT_FALSE(stream.Finish(0, std::vector<float>(4)));
  stream.Publish(State(0, 2));
  EXPECT_EQ(std::get<absl::Status>(*stream.Take()).message(), "a");
  EXPECT_FALSE(stream.Take().has_value());
}

TEST_F(EventStreamTest, CancelAfterTheResultChangesNothing) {
  EventStream stream(Options(10), &clock_);
  stream.Activate();
  stream.Finish(0, std::vector<float>(4, 1.f));
  stream.Cancel(absl::CancelledError("late"));
  EXPECT_THAT(std::get<ResultEvent>(*stream.Take()).samples, ::testing::ElementsAre(1, 1, 1, 1));
}

}  // namespace
}  // namespace denoise
