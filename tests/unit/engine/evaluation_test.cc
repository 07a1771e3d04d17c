#include "server/engine/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <numbers>
#include <thread>
#include <vector>

#include "server/diffusion/beta_schedule.h"

namespace denoise {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

constexpr size_t kDimensions = 4;
// So many nats are one bit per dimension.
constexpr double kBit = kDimensions * std::numbers::ln2;

std::shared_ptr<const Table> MakeTerms(const LikelihoodOptions& options, int64_t train_steps) {
  SchedulerConfig config;
  config.betas = MakeBetas(BetaSchedule::kLinear, train_steps, 0.0001, 0.02);
  auto table = MakeLikelihoodTable(config, NoiseSchedule(config.betas), false, options);
  EXPECT_TRUE(table.ok()) << table.status();
  return std::make_shared<const Table>(table.value_or(Table{}));
}

TEST(EvaluationTest, ATimestepIsThereWithItsLastSample) {
  Evaluation evaluation(MakeTerms({}, 3), 2, kDimensions);  // t = 2, 1, 0
  EXPECT_FALSE(evaluation.Add(1, 0, {.nats = 2 * kBit, .eps_mse = 0.5, .x_0_mse = 0.25}));
  EXPECT_FALSE(evaluation.Add(1, 1, {.nats = 3 * kBit}));
  // Samples and terms in any order.
  const std::optional<TermEvent> event =
      evaluation.Add(0, 0, {.nats = kBit, .eps_mse = 0.125, .x_0_mse = 4});
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->timestep, 2u);
  EXPECT_THAT(event->bits_per_dim, ElementsAre(DoubleEq(1), DoubleEq(2)));
  EXPECT_THAT(event->eps_mse, ElementsAre(0.125, 0.5));
  EXPECT_THAT(event->x_0_mse, ElementsAre(4, 0.25));
}

TEST(EvaluationTest, TotalIsThePriorAndEveryTerm) {
  Evaluation evaluation(MakeTerms({}, 3), 2, kDimensions);
  evaluation.SetPrior(0, kBit);
  evaluation.SetPrior(1, 10 * kBit);
  for (uint32_t sample = 0; sample < 2; ++sample) {
    for (size_t term = 0; term < 3; ++term) {
      evaluation.Add(sample, term, {.nats = (1 + sample) * kBit});
    }
  }
  const LikelihoodEvent total = evaluation.Total();
  EXPECT_THAT(total.prior_bits_per_dim, ElementsAre(DoubleEq(1), DoubleEq(10)));
  EXPECT_THAT(total.total_bits_per_dim, ElementsAre(DoubleEq(4), DoubleEq(16)));
  EXPECT_THAT(total.standard_error, ElementsAre(0, 0));
}

TEST(EvaluationTest, EstimatesHaveAnErrorForEachSample) {
  const std::shared_ptr<const Table> table = MakeTerms({.num_timesteps = 10, .seed = 2}, 1000);
  Evaluation evaluation(table, 2, kDimensions);
  std::vector<std::vector<double>> nats(2);
  for (uint32_t sample = 0; sample < 2; ++sample) {
    evaluation.SetPrior(sample, 0.5);
    for (size_t term = 0; term < table->terms.size(); ++term) {
      nats[sample].push_back(1 + sample * std::sqrt(static_cast<double>(term)));
      const auto event = evaluation.Add(sample, term, {.nats = nats[sample].back()});
      ASSERT_EQ(event.has_value(), sample == 1);
      if (event.has_value()) {
        EXPECT_EQ(event->timestep, table->rows[term].timestep);
      }
    }
  }
  const LikelihoodEvent total = evaluation.Total();
  for (uint32_t sample = 0; sample < 2; ++sample) {
    const Bound bound = BoundOf(*table, 0.5, nats[sample]);
    EXPECT_DOUBLE_EQ(total.total_bits_per_dim[sample], bound.nats / kBit);
    EXPECT_DOUBLE_EQ(total.standard_error[sample], bound.standard_error / kBit);
    EXPECT_GT(total.standard_error[sample], 0);
  }
}

// Engines add at the same time: each timestep is told of once, when it is complete.
TEST(EvaluationTest, EnginesShareIt) {
  constexpr uint32_t kSamples = 4;
  constexpr int64_t kTerms = 200;
  Evaluation evaluation(MakeTerms({}, kTerms), kSamples, kDimensions);
  std::atomic<int> events = 0, wrong = 0;
  std::vector<std::thread> engines;
  for (uint32_t sample = 0; sample < kSamples; ++sample) {
    engines.emplace_back([&, sample] {
      evaluation.SetPrior(sample, 0);
      for (size_t term = 0; term < kTerms; ++term) {
        const auto event = evaluation.Add(sample, term, {.nats = (sample + 1) * kBit});
        if (!event.has_value()) continue;
        ++events;
        for (uint32_t i = 0; i < kSamples; ++i) {
          if (std::abs(event->bits_per_dim[i] - (i + 1)) > 1e-12) ++wrong;
        }
      }
    });
  }
  for (std::thread& engine : engines) engine.join();
  EXPECT_EQ(events, kTerms);
  EXPECT_EQ(wrong, 0);
  EXPECT_NEAR(evaluation.Total().total_bits_per_dim[3], 4.0 * kTerms, 1e-9);
}

}  // namespace
}  // namespace denoise
