// Terms of a likelihood in the engine's batches.
#include <limits>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_fixture.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What was in a batch: terms, and rows of samples.
using Mix = std::pair<int, int>;

Mix MixOf(absl::Span<const RowTask> tasks) {
  Mix mix{0, 0};
  for (const RowTask& task : tasks) ++(task.term != nullptr ? mix.first : mix.second);
  return mix;
}

class EngineEvaluateTest : public EngineTest {
 protected:
  void StartAndNoteBatches(Batching batching = Batching::kStep) {
    Start(
        [this](absl::Span<const RowTask> tasks) {
          batches_.push_back(MixOf(tasks));
          return gate_.Pass(tasks);
        },
        batching);
  }

  // Ends the first tick, which there was only so that all that was pushed meets in the next.
  void Begin() {
    Submitted first = Make(1, 1, 77);
    Push(first);
    gate_.WaitForTick();
    first_ = std::move(first);
  }
  void LetGo() {
    gate_.Open();
    ExpectResult(first_);
  }
  // Once all has ended.
  std::vector<Mix> Batches() {
    Settle();
    return {batches_.begin() + 1, batches_.end()};
  }

  Gate gate_;
  std::vector<Mix> batches_;
  Submitted first_;
};

TEST_F(EngineEvaluateTest, TellsEveryTermAndTheBound) {
  Start();
  Submitted evaluate = SubmitEvaluate(21, 3);
  ExpectBound(evaluate);
  Settle();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineEvaluateTest, OneChainFillsBatchesByItself) {
  StartAndNoteBatches();
  gate_.Open();
  Submitted evaluate = SubmitEvaluate(21);
  ExpectBound(evaluate);
  Settle();
  EXPECT_THAT(batches_, ElementsAre(Mix(8, 0), Mix(8, 0), Mix(5, 0)));
}

TEST_F(EngineEvaluateTest, SharesBatchesWithSamplesAndTakesHalf) {
  StartAndNoteBatches();
  Begin();
  Submitted evaluate = MakeEvaluate(30, 2);
  Submitted many = Make(2, 5, 9);  // more rows than half a batch
  Submitted two = Make(5, 1, 40);
  Push(evaluate);
  Push(many);
  Push(two);
  LetGo();
  ExpectResult(many);
  ExpectResult(two);
  ExpectBound(evaluate);
  EXPECT_THAT(Batches(), ElementsAre(Mix(4, 4), Mix(4, 4), Mix(6, 2), Mix(6, 2), Mix(7, 1),
                                     Mix(7, 1), Mix(7, 1), Mix(8, 0), Mix(8, 0), Mix(3, 0)));
}

TEST_F(EngineEvaluateTest, TermsAreToldInDescendingTimeWhileTheOthersAreToCome) {
  StartAndNoteBatches();
  Submitted evaluate = SubmitEvaluate(8, 4);
  gate_.WaitForTick();
  gate_.LetGo();  // two terms of each of the four
  EXPECT_EQ(std::get<TermEvent>(evaluate.reader->Next()).timestep, 7u);
  EXPECT_EQ(std::get<TermEvent>(evaluate.reader->Next()).timestep, 6u);
  EXPECT_FALSE(evaluate.stream().Take().has_value());
  gate_.Open();
  for (uint32_t t = 6; t-- > 0;) {
    EXPECT_EQ(std::get<TermEvent>(evaluate.reader->Next()).timestep, t);
  }
  EXPECT_TRUE(std::holds_alternative<ResultEvent>(evaluate.reader->Next()));
}

// Nor is what an earlier request left in a buffer taken for one.
TEST_F(EngineEvaluateTest, ThereIsNoSampleEvenWhereTheStreamWouldKeepIt) {
  Start();
  Submitted sample = Submit(3, 8);
  ExpectResult(sample);
  Submitted evaluate = MakeEvaluate(4);
  EventStream::Options options;
  options.values_per_sample = 4;
  Submitted keeping = WithStream(evaluate.request, options);
  Push(keeping);
  const StreamEvent event = keeping.reader->End();
  EXPECT_THAT(std::get<ResultEvent>(event).samples, ElementsAre(0, 0, 0, 0));
}

TEST_F(EngineEvaluateTest, NoBatchingRunsOneTermACall) {
  StartAndNoteBatches(Batching::kNone);
  gate_.Open();
  Submitted evaluate = SubmitEvaluate(5, 2);
  ExpectBound(evaluate);
  Settle();
  EXPECT_EQ(batches_.size(), 10u);
  EXPECT_THAT(batches_, Each(Mix(1, 0)));
}

TEST_F(EngineEvaluateTest, SamplesOfOneRequestOnTwoEngines) {
  Start(nullptr, Batching::kStep, 2);
  Submitted evaluate = SubmitEvaluate(40, 7);
  ExpectBound(evaluate);
}

TEST_F(EngineEvaluateTest, AReaderThatIsSlowLosesNoTerm) {
  Start();
  Submitted evaluate = SubmitEvaluate(100, 2, 1, /*max_pending_bytes=*/1);
  ExpectBound(evaluate);
}

TEST_F(EngineEvaluateTest, AStreamWithoutRoomHoldsItsTermsBackAndNobodyElse) {
  StartAndNoteBatches();
  Begin();
  Submitted unread = SubmitEvaluate(100, 1, 1, /*max_pending_bytes=*/1);
  Submitted other = Submit(3, 1, 9);
  LetGo();
  ExpectResult(other);
  Settle();
  EXPECT_THAT(Batches(), ElementsAre(Mix(7, 1), Mix(0, 1), Mix(0, 1)));
  ExpectBound(unread);
}

TEST_F(EngineEvaluateTest, RowsLeftAreItsTerms) {
  StartAndNoteBatches();
  Submitted evaluate = MakeEvaluate(20, 2);
  EXPECT_EQ(queue_->TryPush(evaluate.request)->rows_before, 0u);
  for (int tick = 0; tick < 2; ++tick) {
    gate_.WaitForTick();
    gate_.LetGo();
  }
  gate_.WaitForTick();  // of the third batch
  EXPECT_EQ(engines_[0]->rows_left(), 24u);
  gate_.Open();
  ExpectBound(evaluate);
  Settle();
  EXPECT_EQ(engines_[0]->rows_left(), 0u);
}

TEST_F(EngineEvaluateTest, AFailingTermFailsItsRequestAlone) {
  const Term* poison = nullptr;
  Start([&](absl::Span<const RowTask> tasks) {
    for (const RowTask& task : tasks) {
      if (task.term == poison && task.sample == 1) return absl::InternalError("boom");
    }
    return absl::OkStatus();
  });
  Submitted bad = MakeEvaluate(30, 2);
  poison = &bad.request->table->terms[12];
  Submitted good = MakeEvaluate(30, 2, 70);
  Submitted sample = Make(9, 2, 5);
  Push(bad);
  Push(good);
  Push(sample);
  ExpectBound(good);
  ExpectResult(sample);
  const StreamEvent event = bad.reader->End();
  EXPECT_THAT(std::get<absl::Status>(event).ToString(),
              AllOf(HasSubstr("INTERNAL"), HasSubstr("sample_index 1, timestep 17: boom")));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("denoise_chains_failed_total{reason=\"denoiser_error\"} 1"));
  Settle();
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineEvaluateTest, OutOfMemoryGoesToSmallerBatchesInOrder) {
  std::vector<std::vector<size_t>> batches;
  Start([&](absl::Span<const RowTask> tasks) {
    std::vector<size_t>& terms = batches.emplace_back();
    for (const RowTask& task : tasks) terms.push_back(task.term_index);
    return tasks.size() > 2 ? absl::ResourceExhaustedError("out of memory") : absl::OkStatus();
  });
  Submitted evaluate = SubmitEvaluate(5);
  ExpectBound(evaluate);
  Settle();
  EXPECT_THAT(batches, ElementsAre(ElementsAre(0, 1, 2, 3, 4), ElementsAre(0, 1, 2),
                                   ElementsAre(0, 1), ElementsAre(2), ElementsAre(3, 4)));
}

TEST_F(EngineEvaluateTest, ATermThatIsNotFiniteFailsItsRequestAlone) {
  Start();
  Submitted bad = MakeEvaluate(20, 2);
  bad.request->start[4] = std::numeric_limits<float>::quiet_NaN();  // of the second sample
  Submitted good = MakeEvaluate(20, 2);
  Push(bad);
  Push(good);
  ExpectBound(good);
  const StreamEvent event = bad.reader->End();
  EXPECT_THAT(std::get<absl::Status>(event).ToString(),
              HasSubstr("sample_index 1, timestep 19: the denoiser's answer is not finite"));
  EXPECT_THAT(metrics_.Text(), HasSubstr("denoise_chains_failed_total{reason=\"not_finite\"} 1"));
}

TEST_F(EngineEvaluateTest, CancelFreesItWithinOneTickAndHarmsNobody) {
  StartAndNoteBatches();
  Begin();
  Submitted victim = SubmitEvaluate(1000, 2);
  Submitted other = Submit(4, 1, 9);
  gate_.LetGo();
  gate_.WaitForTick();
  gate_.LetGo();
  gate_.WaitForTick();
  victim.stream().Cancel(absl::CancelledError("by the caller"));
  LetGo();
  ExpectResult(other);
  EXPECT_TRUE(absl::IsCancelled(std::get<absl::Status>(victim.reader->Next())));
  EXPECT_THAT(Batches(), ElementsAre(Mix(7, 1), Mix(7, 1), Mix(0, 1), Mix(0, 1)));
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineEvaluateTest, DeadlineWhileRunning) {
  StartAndNoteBatches();
  Submitted evaluate = MakeEvaluate(1000);
  evaluate.request->deadline = clock_.Now() + std::chrono::seconds(5);
  Push(evaluate);
  gate_.WaitForTick();
  clock_.Advance(std::chrono::seconds(6));
  gate_.Open();
  const StreamEvent event = evaluate.reader->End();
  EXPECT_TRUE(absl::IsDeadlineExceeded(std::get<absl::Status>(event)));
  Settle();
  EXPECT_EQ(batches_.size(), 1u);
  EXPECT_EQ(live_slots_, 0);
}

TEST_F(EngineEvaluateTest, StopEndsWhatIsActive) {
  StartAndNoteBatches();
  Submitted evaluate = SubmitEvaluate(1000, 1, 1, /*max_pending_bytes=*/1);
  gate_.WaitForTick();
  gate_.Open();
  engines_[0]->Stop();  // nobody reads, so it is not at its end
  EXPECT_TRUE(absl::IsUnavailable(std::get<absl::Status>(evaluate.reader->Next())));
  EXPECT_EQ(live_slots_, 0);
}

}  // namespace
}  // namespace denoise
