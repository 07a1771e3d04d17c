// Whole bounds, computed by the executor in float32 batches, beside those of a float64 reference
// with the same noise: see make_likelihoods.py. And what the executor promises of terms.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "server/engine/evaluation.h"
#include "tests/unit/model/served_test_model.h"

namespace denoise {
namespace {

constexpr double kMaxError = 1e-4;  // bits per dimension

Variance VarianceNamed(const std::string& name) {
  for (const Variance variance : {Variance::kFixedSmall, Variance::kFixedLarge, Variance::kLearned,
                                  Variance::kLearnedRange}) {
    if (Name(variance) == name) return variance;
  }
  ADD_FAILURE() << name;
  return Variance::kFixedSmall;
}

std::vector<double> ReadNumbers(std::istream& from, size_t count) {
  std::vector<double> numbers(count);
  for (double& number : numbers) {
    if (!(from >> number)) ADD_FAILURE() << "too few numbers";
  }
  return numbers;
}

// The chains of an Evaluate on one executor.
struct Chains {
  Chains(const ModelInfo& info, Executor& executor, const std::vector<float>& x_0, uint64_t seed,
         const Table& table)
      : table(table), executor(executor) {
    const auto values = static_cast<size_t>(info.shape.values());
    for (size_t i = 0; i * values < x_0.size(); ++i) {
      ChainStart start;
      start.seed = seed + i;
      start.stochastic = true;
      start.x = absl::MakeConstSpan(x_0).subspan(i * values, values);
      slots.push_back(*executor.Start(start));
    }
    found.assign(slots.size(), std::vector<TermValues>(table.terms.size()));
  }
  ~Chains() {
    for (const SlotId slot : slots) executor.Free(slot);
  }

  RowTask Task(size_t sample, size_t term) {
    RowTask task;
    task.slot = slots[sample];
    task.row = &table.rows[term];
    task.sample = static_cast<uint32_t>(sample);
    task.term = &table.terms[term];
    task.term_index = term;
    task.term_values = &found[sample][term];
    return task;
  }

  // Every term of every chain, several of a chain in a batch.
  void RunAll(size_t rows) {
    std::vector<RowTask> tasks;
    const auto run = [&] {
      bool finite[8];
      const absl::Status status =
          executor.Execute(tasks, static_cast<int64_t>(rows), absl::MakeSpan(finite, tasks.size()));
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_TRUE(std::all_of(finite, finite + tasks.size(), [](bool f) { return f; }));
      tasks.clear();
    };
    // In turns, so that the place of a term in its batch changes.
    for (size_t term = 0; term < table.terms.size(); ++term) {
      for (size_t sample = 0; sample < slots.size(); ++sample) {
        tasks.push_back(Task(sample, term));
        if (tasks.size() == rows) run();
      }
    }
    if (!tasks.empty()) run();
  }

  const Table& table;
  Executor& executor;
  std::vector<SlotId> slots;
  std::vector<std::vector<TermValues>> found;  // [sample][term]
};

// Relative where it is large: eps_mse is a multiple of x_0_mse, up to 1e4 here.
double Error(double found, double expected) {
  return std::abs(found - expected) / std::max(1.0, std::abs(expected));
}

TEST(LikelihoodParityTest, AsTheReferenceInDouble) {
  std::ifstream file(TestModelFolder("likelihoods.txt"));
  std::string line;
  ASSERT_TRUE(std::getline(file, line));
  std::istringstream head(line);
  size_t terms = 0, samples = 0;
  uint64_t seed = 0;
  head >> terms >> samples >> seed;
  std::vector<float> x_0;
  for (double value; head >> value;) x_0.push_back(static_cast<float>(value));
  ASSERT_GT(samples, 0u);
  ASSERT_EQ(x_0.size() % samples, 0u);

  int cases = 0;
  double worst = 0;
  std::string served;
  std::shared_ptr<ServedModel> model;
  std::unique_ptr<Executor> executor;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name, variance;
    bool clip = false;
    words >> name >> variance >> clip;
    SCOPED_TRACE(absl::StrCat(name, " ", variance, " ", clip));
    if (name != served) {
      auto loaded = ServeTestModel(name, {.batch_sizes = {1, 4, 7}});
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      model = *loaded;
      auto made = model->MakeExecutor();
      ASSERT_TRUE(made.ok()) << made.status();
      executor = *std::move(made);
      served = name;
    }
    const ModelInfo& info = *model->info();
    ASSERT_EQ(info.levels, 256);
    SchedulerConfig config = info.config;
    config.variance = VarianceNamed(variance);
    const auto made =
        MakeLikelihoodTable(config, info.schedule, info.learned_variance, {.clip_sample = clip});
    ASSERT_TRUE(made.ok()) << made.status();
    const auto table = std::make_shared<const Table>(*made);
    ASSERT_EQ(table->terms.size(), terms);

    Chains chains(info, *executor, x_0, seed, *table);
    chains.RunAll(7);
    if (HasFatalFailure()) return;
    Evaluation evaluation(table, samples, info.shape.values());
    std::vector<TermEvent> events;
    for (size_t i = 0; i < samples; ++i) {
      const auto values = static_cast<size_t>(info.shape.values());
      evaluation.SetPrior(
          i, PriorNats(info.schedule, absl::MakeConstSpan(x_0).subspan(i * values, values)));
      for (size_t k = 0; k < terms; ++k) {
        const auto event = evaluation.Add(i, k, chains.found[i][k]);
        if (event.has_value()) events.push_back(*event);
      }
    }
    const LikelihoodEvent total = evaluation.Total();
    const std::vector<double> expected_total = ReadNumbers(words, samples);
    const std::vector<double> expected_prior = ReadNumbers(words, samples);
    for (size_t i = 0; i < samples; ++i) {
      EXPECT_NEAR(total.total_bits_per_dim[i], expected_total[i], kMaxError);
      EXPECT_NEAR(total.prior_bits_per_dim[i], expected_prior[i], 1e-9);
      worst = std::max(worst, std::abs(total.total_bits_per_dim[i] - expected_total[i]));
    }
    ASSERT_EQ(events.size(), terms);
    for (size_t k = 0; k < terms; ++k) {
      EXPECT_EQ(events[k].timestep, terms - 1 - k);
      const std::vector<double> bits = ReadNumbers(words, samples);
      const std::vector<double> eps_mse = ReadNumbers(words, samples);
      const std::vector<double> x_0_mse = ReadNumbers(words, samples);
      for (size_t i = 0; i < samples; ++i) {
        ASSERT_NEAR(events[k].bits_per_dim[i], bits[i], kMaxError) << k;
        ASSERT_LT(Error(events[k].eps_mse[i], eps_mse[i]), 1e-4) << k;
        ASSERT_LT(Error(events[k].x_0_mse[i], x_0_mse[i]), 1e-4) << k;
      }
    }
    ++cases;
  }
  EXPECT_EQ(cases, 24);
  RecordProperty("worst_bits_per_dim", absl::StrCat(worst));
}

// The model "formula" answers x/2 + t/1000 + y, and raises where a row begins with 1234.
class LikelihoodTasksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loaded = ServeTestModel("formula", {.batch_sizes = {1, 2, 4, 8}});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    model_ = *loaded;
    executor_ = *model_->MakeExecutor();
    SchedulerConfig config;
    config.betas = std::vector<double>(12, 0.05);
    table_ = *MakeLikelihoodTable(config, NoiseSchedule(config.betas), false, {});
    for (int64_t i = 0; i < model_->info()->shape.values(); ++i) {
      x_0_.push_back(static_cast<float>(i) / 255);
    }
  }

  Chains MakeChains() { return Chains(*model_->info(), *executor_, x_0_, 3, table_); }
  std::vector<double> Nats(const Chains& chains) {
    std::vector<double> nats;
    for (const TermValues& values : chains.found[0]) nats.push_back(values.nats);
    return nats;
  }
  absl::Status Execute(const std::vector<RowTask>& tasks, int64_t rows) {
    return executor_->Execute(tasks, rows, absl::MakeSpan(finite_, tasks.size()));
  }

  std::shared_ptr<ServedModel> model_;
  std::unique_ptr<Executor> executor_;
  Table table_;
  std::vector<float> x_0_;
  bool finite_[8] = {};
};

TEST_F(LikelihoodTasksTest, TheBatchesMakeNoDifference) {
  Chains singly = MakeChains(), together = MakeChains();
  singly.RunAll(1);
  together.RunAll(8);
  EXPECT_EQ(Nats(singly), Nats(together));
  std::vector<float> x(x_0_.size());
  executor_->Read(together.slots[0], x.data());
  EXPECT_EQ(x, x_0_);
}

TEST_F(LikelihoodTasksTest, ATermThatIsTriedAgainHasTheSameNoise) {
  Chains undisturbed = MakeChains();
  undisturbed.RunAll(1);

  Chains chains = MakeChains();
  const std::vector<float> guilty(x_0_.size(), 1234);
  const SlotId bad = *executor_->Start({.x = guilty});
  Row plain;
  std::vector<RowTask> tasks = {
      chains.Task(0, 0), chains.Task(0, 1), chains.Task(0, 2), {.slot = bad, .row = &plain}};
  EXPECT_TRUE(absl::IsInternal(Execute(tasks, 4)));
  EXPECT_TRUE(absl::IsInternal(Execute({chains.Task(0, 0), tasks[3]}, 2)));
  // In parts, and while others of the chain go on.
  ASSERT_TRUE(Execute({chains.Task(0, 1)}, 1).ok());
  ASSERT_TRUE(Execute({chains.Task(0, 0), chains.Task(0, 3)}, 2).ok());
  ASSERT_TRUE(Execute({chains.Task(0, 2)}, 1).ok());
  for (size_t term = 4; term < table_.terms.size(); ++term) {
    ASSERT_TRUE(Execute({chains.Task(0, term)}, 1).ok());
  }
  EXPECT_EQ(Nats(chains), Nats(undisturbed));
}

TEST_F(LikelihoodTasksTest, ShareABatchWithSampling) {
  Chains alone = MakeChains(), chains = MakeChains();
  alone.RunAll(1);
  Row row;
  row.timestep = 500;
  row.w[kColX][kColOut] = 1;
  const std::vector<float> x(x_0_.size(), 2);
  const SlotId slot = *executor_->Start({.x = x});
  const RowTask plain = {.slot = slot, .row = &row};
  RowTask guided = {.slot = *executor_->Start({.x = x}), .row = &row, .label = 3};
  guided.guided = true;
  guided.guidance = 2;
  ASSERT_TRUE(
      Execute({chains.Task(0, 0), guided, chains.Task(0, 1), plain, chains.Task(0, 2)}, 8).ok());
  for (size_t term = 0; term < 3; ++term) {
    EXPECT_EQ(chains.found[0][term].nats, alone.found[0][term].nats);
  }
  std::vector<float> after(x_0_.size());
  executor_->Read(slot, after.data());
  EXPECT_THAT(after, ::testing::Each(::testing::FloatEq(1.5f)));
}

TEST_F(LikelihoodTasksTest, TellsWhichTermIsNotFinite) {
  Chains chains = MakeChains();
  // Makes x_t begin with 4321, for which the model answers NaN.
  std::vector<float> x_0 = x_0_;
  x_0[0] = 4321;
  Term exact = table_.terms[0];
  exact.alpha = 1;
  exact.sigma = 0;
  const Chains bad(*model_->info(), *executor_, x_0, 3, table_);
  TermValues values;
  RowTask task = chains.Task(0, 0);
  task.slot = bad.slots[0];
  task.term = &exact;
  task.term_values = &values;
  ASSERT_TRUE(Execute({chains.Task(0, 0), task}, 2).ok());
  EXPECT_TRUE(finite_[0]);
  EXPECT_FALSE(finite_[1]);
}

TEST_F(LikelihoodTasksTest, RefusesModelsWithoutLevels) {
  const auto plain = ServeTestModel("plain_2x3x4", {.batch_sizes = {1}});
  ASSERT_TRUE(plain.ok()) << plain.status();
  const auto executor = (*plain)->MakeExecutor();
  ASSERT_TRUE(executor.ok()) << executor.status();
  Chains chains(*(*plain)->info(), **executor, x_0_, 3, table_);
  const RowTask task = chains.Task(0, 0);
  EXPECT_TRUE(absl::IsInternal((*executor)->Execute({task}, 1, absl::MakeSpan(finite_, 1))));
}

TEST_F(LikelihoodTasksTest, RefusesWhatIsNoTerm) {
  Chains chains = MakeChains();
  ASSERT_TRUE(Execute({chains.Task(0, 0)}, 1).ok());
  EXPECT_TRUE(absl::IsInternal(Execute({chains.Task(0, 0)}, 1)));  // its noise is gone
  RowTask guided = chains.Task(0, 1);
  guided.guided = true;
  EXPECT_TRUE(absl::IsInternal(Execute({guided}, 2)));
  RowTask without_noise = chains.Task(0, 1);
  without_noise.slot = *executor_->Start({.x = x_0_});
  EXPECT_TRUE(absl::IsInternal(Execute({without_noise}, 1)));
  EXPECT_TRUE(Execute({chains.Task(0, 1)}, 1).ok());
}

}  // namespace
}  // namespace denoise
