#include "server/engine/chain.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/fake_executor.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kValues = 4;  // of FakeModel

std::vector<float> Counting(size_t samples) {
  std::vector<float> values(samples * kValues);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return values;
}

class ChainTest : public ::testing::Test {
 protected:
  ChainTest() {
    request_->model = std::make_shared<ModelInfo>(FakeModel());
    request_->num_samples = 3;
    request_->seed = 100;
    UseTable();
  }

  void UseTable() { request_->table = std::make_shared<Table>(table_); }
  RowTask Task(uint32_t index, size_t row) {
    chain_.request = request_;
    chain_.index = index;
    chain_.slot = 5;
    chain_.row = row;
    return NextTask(chain_);
  }

  Table table_ = *FakeTable(4);
  std::shared_ptr<Request> request_ = std::make_shared<Request>();
  Chain chain_;
};

TEST_F(ChainTest, StartsFromItsOwnDraw) {
  table_.registers = 3;
  table_.initial_scale = 0.5;
  table_.stochastic = true;
  UseTable();
  const ChainStart start = StartOf(*request_, 2);
  EXPECT_EQ(start.registers, 3);
  EXPECT_EQ(start.seed, 102u);
  EXPECT_TRUE(start.stochastic);
  EXPECT_THAT(start.x, IsEmpty());
  EXPECT_EQ(start.scale, 0.5);
  EXPECT_THAT(start.image, IsEmpty());
  EXPECT_FALSE(start.keep_noise);
}

TEST_F(ChainTest, StartsFromItsPartOfTheNoiseAndTheImages) {
  table_.image_scale = 0.75;
  table_.keeps_noise = true;
  UseTable();
  request_->start = Counting(3);
  request_->image = Counting(3);
  const ChainStart start = StartOf(*request_, 1);
  EXPECT_THAT(start.x, ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(start.image, ElementsAre(4, 5, 6, 7));
  EXPECT_EQ(start.image_scale, 0.75);
  EXPECT_TRUE(start.keep_noise);
  EXPECT_FALSE(start.stochastic);
}

TEST_F(ChainTest, OneImageIsForAll) {
  request_->image = Counting(1);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_THAT(StartOf(*request_, i).image, ElementsAre(0, 1, 2, 3));
  }
}

TEST_F(ChainTest, ATaskIsItsRowAndItsLabel) {
  request_->labels = {7, 8, 9};
  const RowTask task = Task(2, 3);
  EXPECT_EQ(task.slot, 5);
  EXPECT_EQ(task.row, &request_->table->rows[3]);
  EXPECT_EQ(task.label, 9);
  EXPECT_EQ(task.sample, 2u);
  EXPECT_FALSE(task.guided);
  EXPECT_EQ(task.conditions, nullptr);
  EXPECT_EQ(task.known, nullptr);
  EXPECT_EQ(task.mask, nullptr);
  EXPECT_EQ(task.term, nullptr);
  EXPECT_EQ(task.x_out, nullptr);
}

TEST_F(ChainTest, GuidanceActsWithinItsInterval) {
  for (size_t i = 0; i < 4; ++i) table_.rows[i].noise_ratio = 4.0 - static_cast<double>(i);
  table_.rows[0].noise_ratio = std::numeric_limits<double>::infinity();
  UseTable();
  request_->labels = {7, 8, 9};
  request_->negative_labels = {1, 2, 3};
  request_->guided = true;
  request_->guidance = 2.5;
  request_->guidance_rescale = 0.7;
  request_->conditions = std::make_shared<Conditions>();
  request_->negative_conditions = std::make_shared<Conditions>();
  request_->guidance_sigma_min = 1;
  request_->guidance_sigma_max = 3;
  EXPECT_EQ(request_->rows_per_chain(), 6u);
  for (const size_t row : {1, 2}) {
    const RowTask task = Task(1, row);
    EXPECT_EQ(task.denoiser_rows(), 2);
    EXPECT_EQ(task.label, 8);
    EXPECT_EQ(task.negative_label, 2);
    EXPECT_EQ(task.guidance, 2.5f);
    EXPECT_EQ(task.guidance_rescale, 0.7f);
    EXPECT_EQ(task.conditions, request_->conditions.get());
    EXPECT_EQ(task.negative_conditions, request_->negative_conditions.get());
  }
  for (const size_t row : {0, 3}) {
    const RowTask task = Task(1, row);
    EXPECT_EQ(task.denoiser_rows(), 1);
    EXPECT_EQ(task.label, 8);
    EXPECT_EQ(task.conditions, request_->conditions.get());
    EXPECT_EQ(task.negative_conditions, nullptr);
  }
}

TEST_F(ChainTest, GuidanceWithoutAnIntervalActsOnEveryRow) {
  table_.rows[0].noise_ratio = std::numeric_limits<double>::infinity();
  table_.rows[2].denoise = false;
  UseTable();
  request_->guided = true;
  EXPECT_EQ(request_->rows_per_chain(), 6u);
  EXPECT_EQ(Task(0, 0).denoiser_rows(), 2);
  EXPECT_EQ(Task(0, 2).denoiser_rows(), 0);
}

TEST_F(ChainTest, RowsThatBlendSeeTheirSamplesKnownPartAndMask) {
  for (size_t i : {0, 1}) table_.rows[i].blend = Blend::kKeptNoise;
  table_.rows[3].blend = Blend::kKnown;
  UseTable();
  request_->known = Counting(3);
  request_->mask = Counting(1);
  for (const size_t row : {0, 1, 3}) {
    for (uint32_t i = 0; i < 3; ++i) {
      const RowTask task = Task(i, row);
      EXPECT_EQ(task.known, request_->known.data() + i * kValues);
      EXPECT_EQ(task.mask, request_->mask.data());
    }
  }
  EXPECT_EQ(Task(1, 2).known, nullptr);
  EXPECT_EQ(Task(1, 2).mask, nullptr);
}

TEST_F(ChainTest, ATermIsThatOfItsRow) {
  table_ = *FakeTerms(4);
  UseTable();
  const RowTask task = Task(1, 2);
  EXPECT_EQ(task.row, &request_->table->rows[2]);
  EXPECT_EQ(task.term, &request_->table->terms[2]);
  EXPECT_EQ(task.term_index, 2u);
}

}  // namespace
}  // namespace denoise
