// Which batch sizes agree bit for bit, and that a row's bits do not depend on the other rows then.
#include "server/model/examination/batch_invariance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/unit/model/served_test_model.h"

namespace denoise {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<int64_t> Rows(const std::vector<BatchTime>& times) {
  std::vector<int64_t> rows;
  for (const BatchTime& time : times) rows.push_back(time.rows);
  return rows;
}

// 100, 200, 240, 250, 249 rows a second.
const std::vector<BatchTime> kTimes = {
    {1, 1 / 100.0}, {2, 2 / 200.0}, {4, 4 / 240.0}, {6, 6 / 250.0}, {8, 8 / 249.0}};

TEST(ChooseAgreementTest, TakesTheMostSizesWhateverTheirTimes) {
  EXPECT_THAT(Rows(ChooseAgreement(kTimes, {0, 0, 0, 1, 1}, true)), ElementsAre(1, 2, 4));
  EXPECT_THAT(Rows(ChooseAgreement(kTimes, {0, 1, 1, 1, -1}, true)), ElementsAre(2, 4, 6));
  EXPECT_THAT(Rows(ChooseAgreement(kTimes, {0, 0, 1, 0, 1}, true)), ElementsAre(1, 2, 6));
}

TEST(ChooseAgreementTest, TakesTheLargestSizesOfEquallyMany) {
  EXPECT_THAT(Rows(ChooseAgreement(kTimes, {0, 0, 1, 1, -1}, true)), ElementsAre(4, 6));
  EXPECT_THAT(Rows(ChooseAgreement(kTimes, {0, 1, 2, 3, 4}, true)), ElementsAre(8));
}

// How far the measuring goes beyond a size depends on the clock.
TEST(ChooseAgreementTest, DoesNotCountSizesThatMayNotHaveBeenMeasured) {
  const std::vector<BatchTime> times = {{8, 1}, {12, 1}, {16, 1}, {20, 1}, {24, 1}, {28, 1}};
  EXPECT_THAT(Rows(ChooseAgreement(times, {0, 0, 1, 1, 1, 1}, true)), ElementsAre(8, 12));
  EXPECT_THAT(Rows(ChooseAgreement(times, {0, 1, 2, 2, 2, 2}, true)), ElementsAre(16, 20, 24, 28));
}

TEST(ChooseAgreementTest, LeavesRoomForAGuidedChain) {
  EXPECT_THAT(ChooseAgreement({{1, 0.01}}, {0}, true), IsEmpty());
  EXPECT_THAT(Rows(ChooseAgreement({{1, 0.01}}, {0}, false)), ElementsAre(1));
  EXPECT_THAT(Rows(ChooseAgreement({{1, 0.01}, {2, 1}}, {0, 1}, true)), ElementsAre(2));
}

TEST(ChooseAgreementTest, MayFindNone) {
  EXPECT_THAT(ChooseAgreement(kTimes, {-1, -1, -1, -1, -1}, true), IsEmpty());
}

TEST(BatchInvarianceTest, FindsTheSizesThatAgree) {
  const auto model = ServeTestModel("sized", {.report_agreement = true});
  ASSERT_TRUE(model.ok()) << model.status();
  const ExaminationReport& report = (*model)->report();
  ASSERT_EQ(report.agreement.size(), report.times.size());
  ASSERT_GE(report.times.size(), 5u);
  for (size_t i = 0; i < report.times.size(); ++i) {
    EXPECT_EQ(report.agreement[i], report.times[i].rows <= 3 ? 0 : 1) << report.times[i].rows;
  }
  EXPECT_FALSE((*model)->info()->batch_invariant);
  EXPECT_EQ((*model)->info()->batch_sizes.front(), 1);
}

TEST(BatchInvarianceTest, RunsOnlySizesThatAgree) {
  const auto model = ServeTestModel("sized", {.batch_sizes = {2, 3, 4}, .batch_invariant = true});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->info()->batch_invariant);
  EXPECT_THAT((*model)->info()->batch_sizes, ::testing::AnyOf(ElementsAre(2, 3), ElementsAre(4)));
  EXPECT_EQ((*model)->info()->denoiser_seconds.size(), (*model)->info()->batch_sizes.size());
}

TEST(BatchInvarianceTest, SeesThePositionInTheBatch) {
  auto model = ServeTestModel("positioned", {.batch_sizes = {2, 8}, .report_agreement = true});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->report().agreement, Each(-1));

  const absl::Status status =
      ServeTestModel("positioned", {.batch_sizes = {2, 8}, .batch_invariant = true}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("positioned: --batch-invariant: at none of the batch sizes 2, 8"),
                    HasSubstr("same bits at every position"), HasSubstr("without the flag")));
}

TEST(BatchInvarianceTest, ComparesConditionsOfTwoExtents) {
  const auto model = ServeTestModel("conditioned", {.batch_invariant = true});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->info()->batch_invariant);
}

// An executor of the bundled model.
class DigitsTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    PrepareProcess();
    PrepareEngineThread(1);
    auto loaded =
        ServedModel::Load({.path = DENOISE_SOURCE_DIR "/models/digits"},
                          {.layout = GetParam(), .max_batch_rows = 16, .batch_invariant = true});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    model_ = *loaded;
    ASSERT_TRUE(model_->Examine().ok());
    executor_ = *model_->MakeExecutor();
    row_.p = 2;
    row_.q = 1;
    row_.w[0][kColOut] = 1;
  }

  // The answer to the row of `seed`, at `position` in a batch of `rows` rows padded to `size`; the
  // company changes with `company`.
  std::vector<float> Answer(uint64_t seed, int64_t position, int64_t rows, int64_t size,
                            uint64_t company) {
    std::vector<RowTask> tasks;
    std::vector<Row> table(rows, row_);
    for (int64_t i = 0; i < rows; ++i) {
      const uint64_t own = i == position ? seed : 1000 + 100 * company + i;
      ChainStart start;
      start.seed = own;
      start.scale = i == position ? 1 : 1 + static_cast<double>(own % 7);
      table[i].timestep = static_cast<double>(own * 37 % 1000);
      RowTask task = {.slot = *executor_->Start(start), .row = &table[i]};
      task.label = static_cast<int64_t>(own % 11);
      tasks.push_back(task);
    }
    std::unique_ptr<bool[]> finite(new bool[rows]);
    EXPECT_TRUE(executor_->Execute(tasks, size, {finite.get(), static_cast<size_t>(rows)}).ok());
    std::vector<float> answer(model_->info()->shape.values());
    executor_->Read(tasks[position].slot, answer.data());
    for (const RowTask& task : tasks) executor_->Free(task.slot);
    return answer;
  }

  std::shared_ptr<ServedModel> model_;
  std::unique_ptr<Executor> executor_;
  Row row_;
};

TEST_P(DigitsTest, ARowsBitsAreTheSameAloneAndInAnyCompany) {
  const std::vector<int64_t>& sizes = model_->info()->batch_sizes;
  for (const uint64_t seed : {1, 2, 3}) {
    const std::vector<float> alone = Answer(seed, 0, 1, sizes.front(), 0);
    for (const int64_t size : sizes) {
      EXPECT_EQ(Answer(seed, 0, 1, size, 0), alone) << size;
      for (const int64_t position : {int64_t{0}, size / 2, size - 1}) {
        EXPECT_EQ(Answer(seed, position, size, size, 1), alone) << size << " " << position;
        EXPECT_EQ(Answer(seed, position, size, size, 2), alone) << size << " " << position;
      }
      // Not full, so padded with copies of the first row.
      EXPECT_EQ(Answer(seed, size / 2, size / 2 + 1, size, 3), alone) << size;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, DigitsTest, ::testing::Values("auto", "contiguous"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace denoise
