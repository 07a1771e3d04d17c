// Results and states through the decoder.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_fixture.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class EngineDecodeTest : public EngineTest {
 protected:
  // Notes how many are decoded in each call.
  void CountCalls() {
    decode_hook_ = [this](absl::Span<const DecodeTask> tasks) {
      calls_.push_back(tasks.size());
      return absl::OkStatus();
    };
  }

  // The values of all samples of an end that is a Result.
  static std::vector<float> SamplesOf(const StreamEvent& end) {
    const auto* result = std::get_if<ResultEvent>(&end);
    if (result == nullptr) {
      ADD_FAILURE() << std::get<absl::Status>(end);
      return {};
    }
    return result->samples;
  }

  std::vector<float> ExpectedDecoded(const Request& request) {
    std::vector<float> all;
    for (uint32_t i = 0; i < request.num_samples; ++i) {
      const auto decoded =
          FakeExecutor::Decoded(FakeExecutor::Expected(*request.table, request.seed + i, 3));
      all.insert(all.end(), decoded.begin(), decoded.end());
    }
    return all;
  }

  std::vector<size_t> calls_;  // of the engine's thread until it is settled
};

TEST_F(EngineDecodeTest, AResultIsDecodedAndItsStatesAreNot) {
  CountCalls();
  Start();
  Submitted submitted = Make(3, 2, 1, /*decode=*/true);
  submitted.request->states = {1, {}, {Content::kXt}};
  Push(submitted);
  const auto [states, end] = submitted.reader->All();
  ASSERT_THAT(states, SizeIs(6));
  for (const StateEvent& state : states) EXPECT_THAT(state.values, SizeIs(4));
  EXPECT_EQ(SamplesOf(end), ExpectedDecoded(*submitted.request));
  Settle();
  EXPECT_THAT(calls_, ElementsAre(2)) << "both samples in the one call of the last tick";
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineDecodeTest, StatesAreDecodedAndTheResultIsNot) {
  Start();
  Submitted submitted = Make(3);
  submitted.request->states = {1, {0}, {Content::kXt, Content::kPredictedX0}, /*decode=*/true};
  // The same as they are.
  Submitted raw = Make(3);
  raw.request->states = {1, {0}, {Content::kXt, Content::kPredictedX0}};
  Push(submitted);
  Push(raw);
  const auto [decoded, end] = submitted.reader->All();
  const auto [latents, raw_end] = raw.reader->All();
  ASSERT_THAT(decoded, SizeIs(7));  // x_T has no prediction
  ASSERT_THAT(latents, SizeIs(7));
  for (size_t i = 0; i < decoded.size(); ++i) {
    EXPECT_EQ(decoded[i].step, latents[i].step);
    EXPECT_EQ(decoded[i].content, latents[i].content);
    EXPECT_EQ(decoded[i].values, FakeExecutor::Decoded(latents[i].values));
  }
  EXPECT_EQ(SamplesOf(end), ExpectedSamples(*submitted.request));
}

TEST_F(EngineDecodeTest, WhatIsStateAndResultIsDecodedOnce) {
  CountCalls();
  Start();
  Submitted submitted = Make(4, 1, 1, /*decode=*/true);
  submitted.request->states = {4, {}, {Content::kXt}, /*decode=*/true};
  Push(submitted);
  const auto [states, end] = submitted.reader->All();
  ASSERT_THAT(states, SizeIs(1));
  EXPECT_EQ(states[0].values, ExpectedDecoded(*submitted.request));
  EXPECT_EQ(SamplesOf(end), states[0].values);
  Settle();
  EXPECT_THAT(calls_, ElementsAre(1));
}

TEST_F(EngineDecodeTest, CallsAreOfAFewBoundedSizes) {
  CountCalls();
  Start();
  Submitted submitted = Make(2, 7, 1, /*decode=*/true);  // 4 in a call at most
  Push(submitted);
  EXPECT_EQ(SamplesOf(submitted.reader->All().second), ExpectedDecoded(*submitted.request));
  Settle();
  EXPECT_THAT(calls_, ElementsAre(4, 2, 1));
}

TEST_F(EngineDecodeTest, XTOfAllChainsIsDecodedTogether) {
  CountCalls();
  Start();
  Submitted submitted = Make(2, 3);
  submitted.request->states = {0, {0}, {Content::kXt}, /*decode=*/true};
  Push(submitted);
  const auto [states, end] = submitted.reader->All();
  std::map<uint32_t, std::vector<float>> first;
  for (const StateEvent& state : states) {
    if (state.step == 0) first[state.sample_index] = state.values;
  }
  ASSERT_THAT(first, SizeIs(3));
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(first[i][1], 2 * FakeExecutor::Noise(1 + i, 1) + 1);
  }
  Settle();
  EXPECT_THAT(calls_, ElementsAre(2, 1, 2, 1));  // three at the beginning, three at the end
}

TEST_F(EngineDecodeTest, AFailingCallIsMadeAgainSoThatOnlyTheGuiltyFails) {
  // The sick sample is known by its x, which is that of a certain seed.
  const float sick = FakeExecutor::Expected(*FakeTable(3), 51, 3)[0];
  decode_hook_ = [this, sick](absl::Span<const DecodeTask> tasks) {
    calls_.push_back(tasks.size());
    const bool fails = std::any_of(tasks.begin(), tasks.end(), [sick](const DecodeTask& task) {
      return task.latents[0] == sick;
    });
    return fails ? absl::InternalError("boom") : absl::OkStatus();
  };
  Gate gate;
  Start([&](absl::Span<const RowTask> tasks) { return gate.Pass(tasks); });
  Submitted other = Submit(1);
  gate.WaitForTick();  // so that those that follow start together
  Submitted bad = Submit(3, 2, 50, /*decode=*/true);
  Submitted good = Submit(3, 2, 70, /*decode=*/true);
  gate.Open();
  EXPECT_EQ(SamplesOf(good.reader->All().second), ExpectedDecoded(*good.request));
  const auto end = bad.reader->All().second;
  ASSERT_TRUE(std::holds_alternative<absl::Status>(end));
  EXPECT_TRUE(absl::IsInternal(std::get<absl::Status>(end)));
  EXPECT_THAT(std::string(std::get<absl::Status>(end).message()),
              AllOf(HasSubstr("sample_index 1, step 3"), HasSubstr("the decoder: boom")));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("denoise_chains_failed_total{reason=\"decoder_error\"} 1"));
  Settle();
  EXPECT_THAT(calls_, ElementsAre(4, 1, 1, 1, 1));
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineDecodeTest, WhereMemoryRunsOutCallsBecomeSmaller) {
  decode_hook_ = [this](absl::Span<const DecodeTask> tasks) {
    calls_.push_back(tasks.size());
    return tasks.size() > 1 ? absl::ResourceExhaustedError("no memory") : absl::OkStatus();
  };
  Start();
  Submitted submitted = Submit(2, 4, 1, /*decode=*/true);
  EXPECT_EQ(SamplesOf(submitted.reader->All().second), ExpectedDecoded(*submitted.request));
  Settle();
  EXPECT_THAT(calls_, ElementsAre(4, 2, 1, 1, 2, 1, 1));
}

TEST_F(EngineDecodeTest, WhatIsNotFiniteFailsItsRequestAlone) {
  Start();
  Submitted bad = Make(2, 2);
  bad.request->states = {0, {0}, {Content::kXt}, /*decode=*/true};
  bad.request->start.assign(8, 1.f);
  bad.request->start[4] = FakeExecutor::kUndecodable;
  Submitted good = Make(2, 2, 70, /*decode=*/true);
  Push(bad);
  Push(good);
  EXPECT_EQ(SamplesOf(good.reader->All().second), ExpectedDecoded(*good.request));
  const auto end = bad.reader->All().second;
  ASSERT_TRUE(std::holds_alternative<absl::Status>(end));
  EXPECT_EQ(std::get<absl::Status>(end),
            absl::InternalError("sample_index 1, step 0: the decoder's answer is not finite"));
  Settle();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineDecodeTest, ItsTimeIsItsOwnAndNotTheEngines) {
  decode_hook_ = [this](absl::Span<const DecodeTask>) {
    clock_.Advance(std::chrono::seconds(3));
    return absl::OkStatus();
  };
  Start();
  Submitted plain = Submit(5);
  ExpectResult(plain);
  Settle();
  EXPECT_THAT(metrics_.Text(), HasSubstr("denoise_decoder_seconds_count{device=\"cpu:0\"} 0"))
      << "nobody decodes";
  Submitted submitted = Submit(5, 1, 1, /*decode=*/true);
  SamplesOf(submitted.reader->All().second);
  Settle();
  const std::string text = metrics_.Text();
  EXPECT_THAT(text, HasSubstr("denoise_decoder_seconds_count{device=\"cpu:0\"} 1"));
  EXPECT_THAT(text, HasSubstr("denoise_decoder_seconds_sum{device=\"cpu:0\"} 3"));
  EXPECT_THAT(text, HasSubstr("denoise_tick_seconds_sum{device=\"cpu:0\"} 3"));
  EXPECT_THAT(text, HasSubstr("denoise_engine_overhead_seconds_sum 0\n"));
}

TEST_F(EngineDecodeTest, StatesThatASlowReaderWouldLoseAreNotDecoded) {
  CountCalls();
  Start();
  constexpr uint32_t kSteps = 50;
  const size_t one_state = sizeof(StateEvent) + 12 * sizeof(float);
  Submitted submitted = Make(kSteps, 1, 1, /*decode=*/false, one_state);
  submitted.request->states = {1, {}, {Content::kXt}, /*decode=*/true};
  Push(submitted);
  while (!submitted.stream().ended()) Settle();
  // Nothing was read until now.
  const auto [states, end] = submitted.reader->All();
  ASSERT_FALSE(states.empty());
  EXPECT_EQ(states.back().step, kSteps);
  EXPECT_EQ(states.back().values,
            FakeExecutor::Decoded(FakeExecutor::Expected(*submitted.request->table, 1, 3)));
  EXPECT_EQ(SamplesOf(end), ExpectedSamples(*submitted.request));
  EXPECT_EQ(std::get<ResultEvent>(end).states_dropped, kSteps - states.size());
  Settle();
  EXPECT_THAT(calls_, ElementsAre(1, 1)) << "the first state, and the last, which always comes";
}

}  // namespace
}  // namespace denoise
