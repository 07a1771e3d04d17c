// The executor on models whose answers are known: see make_models.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/model/chain/executor_fixture.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;
using ::testing::FloatEq;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pointwise;

float Formula(float x, double t, int64_t y) { return 0.5f * x + t / 1000 + y; }

TEST(TorchExecutorTest, StartsFromTheCallersXTimesScale) {
  Fixture f("formula");
  std::vector<float> x(f.values);
  for (int64_t i = 0; i < f.values; ++i) x[i] = i;
  ChainStart start;
  start.x = x;
  start.scale = 0.5;
  const auto slot = f.executor->Start(start);
  ASSERT_TRUE(slot.ok());
  for (float& value : x) value *= 0.5f;
  EXPECT_EQ(f.Read(*slot), x);
}

TEST(TorchExecutorTest, RowsOfAnyTimeAndLabelShareACall) {
  Fixture f("formula");
  const Row early = AnswerRow(900), late = AnswerRow(12.5);
  std::vector<RowTask> tasks(3);
  for (int i = 0; i < 3; ++i) {
    tasks[i].slot = f.StartAt(i + 1);
    tasks[i].row = i == 1 ? &late : &early;
    tasks[i].label = 3 * i;
  }
  ASSERT_TRUE(f.Execute(tasks, 4).ok());  // one row of padding
  EXPECT_THAT(f.Read(tasks[0].slot), Each(FloatEq(Formula(1, 900, 0))));
  EXPECT_THAT(f.Read(tasks[1].slot), Each(FloatEq(Formula(2, 12.5, 3))));
  EXPECT_THAT(f.Read(tasks[2].slot), Each(FloatEq(Formula(3, 900, 6))));
  EXPECT_TRUE(f.finite[0] && f.finite[1] && f.finite[2]);
  EXPECT_GT(f.executor->denoiser_seconds(), 0);
}

TEST(TorchExecutorTest, GuidanceTakesBothRowsOfItsOwnChain) {
  Fixture f("formula");
  const Row row = AnswerRow(100);
  std::vector<RowTask> tasks(3);
  for (int i = 0; i < 3; ++i) {
    tasks[i] = {.slot = f.StartAt(i), .row = &row, .label = 5};
    tasks[i].guided = i != 1;
    tasks[i].negative_label = 2;
    tasks[i].guidance = 3;
  }
  ASSERT_TRUE(f.Execute(tasks, 8).ok());
  // out_u + 3 (out_c - out_u), the labels' difference being 3.
  EXPECT_THAT(f.Read(tasks[0].slot), Each(FloatEq(Formula(0, 100, 2) + 9)));
  EXPECT_THAT(f.Read(tasks[1].slot), Each(FloatEq(Formula(1, 100, 5))));
  EXPECT_THAT(f.Read(tasks[2].slot), Each(FloatEq(Formula(2, 100, 2) + 9)));
}

TEST(TorchExecutorTest, WritesTheStatesThatAreAskedFor) {
  Fixture f("formula");
  const Row row = AnswerRow(0);
  std::vector<float> x(f.values), x0(f.values);
  RowTask task = {.slot = f.StartAt(4), .row = &row, .label = 1};
  task.x_out = x.data();
  task.x0_out = x0.data();
  ASSERT_TRUE(f.Execute({task}, 1).ok());
  EXPECT_THAT(x, Each(3.0f));
  EXPECT_THAT(x0, Each(11.0f));  // 2 x + out
}

TEST(TorchExecutorTest, LeavesEveryChainAsItWasWhenTheDenoiserThrows) {
  Fixture f("formula");
  ChainStart start;
  start.seed = 7;
  start.stochastic = true;
  const SlotId stochastic = *f.executor->Start(start);
  const SlotId guilty = f.StartAt(1234);
  const std::vector<float> before = f.Read(stochastic);
  Row row = AnswerRow(10);
  row.noise = true;
  row.w[0][kColZ] = 1;
  const Row plain = AnswerRow(10);

  const absl::Status status =
      f.Execute({{.slot = stochastic, .row = &row}, {.slot = guilty, .row = &plain}}, 2);
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_EQ(status.message(), "a row begins with 1234");
  EXPECT_EQ(f.Read(stochastic), before);
  EXPECT_THAT(f.Read(guilty), Each(1234.0f));

  // No noise has been drawn either: the second try gives what an undisturbed chain gives.
  const SlotId undisturbed = *f.executor->Start(start);
  ASSERT_TRUE(f.Execute({{.slot = stochastic, .row = &row}}, 1).ok());
  ASSERT_TRUE(f.Execute({{.slot = undisturbed, .row = &row}}, 1).ok());
  EXPECT_EQ(f.Read(stochastic), f.Read(undisturbed));
}

// The noise that is drawn, kept, and drawn ahead for terms goes with it.
TEST(TorchExecutorTest, AMovedChainHasTheBitsOfOneThatStays) {
  Fixture f("formula");
  auto other = f.served->MakeExecutor();
  ASSERT_TRUE(other.ok());
  Row row = AnswerRow(10);
  row.noise = true;
  row.w[0][kColX] = 0.5;
  row.w[0][kColZ] = 1;
  row.w[1][kColOut] = 1;
  row.blend = Blend::kKeptNoise;
  row.blend_alpha = 0.5;
  row.blend_sigma = 0.5;
  const std::vector<float> known(f.values, 0.25f), mask(f.values, 0.5f);
  ChainStart start;
  start.registers = 2;
  start.seed = 5;
  start.stochastic = true;
  start.keep_noise = true;
  RowTask stays = {.slot = *f.executor->Start(start), .row = &row};
  stays.known = known.data();
  stays.mask = mask.data();
  RowTask moves = stays;
  moves.slot = *f.executor->Start(start);
  ASSERT_TRUE(f.Execute({stays, moves}, 2).ok());

  std::thread owner([&] {  // as another engine does
    auto state = f.executor->Extract(moves.slot);
    ASSERT_NE(state, nullptr);
    const auto slot = (*other)->Adopt(std::move(state));
    ASSERT_TRUE(slot.ok());
    moves.slot = *slot;
    bool finite;
    ASSERT_TRUE((*other)->Execute({&moves, 1}, 1, {&finite, 1}).ok());
    ASSERT_TRUE((*other)->Execute({&moves, 1}, 1, {&finite, 1}).ok());
  });
  owner.join();
  ASSERT_TRUE(f.Execute({stays}, 1).ok());
  ASSERT_TRUE(f.Execute({stays}, 1).ok());
  std::vector<float> moved(f.values);
  (*other)->Read(moves.slot, moved.data());
  EXPECT_EQ(moved, f.Read(stays.slot));
}

TEST(TorchExecutorTest, TellsWhichChainIsNotFinite) {
  Fixture f("formula");
  const Row row = AnswerRow(10);
  const std::vector<RowTask> tasks = {{.slot = f.StartAt(1), .row = &row},
                                      {.slot = f.StartAt(4321), .row = &row},
                                      {.slot = f.StartAt(2), .row = &row}};
  ASSERT_TRUE(f.Execute(tasks, 4).ok());
  EXPECT_TRUE(f.finite[0]);
  EXPECT_FALSE(f.finite[1]);
  EXPECT_TRUE(f.finite[2]);
}

TEST(TorchExecutorTest, ForwardRowsNeedNoDenoiser) {
  Fixture f("formula");
  Row forward;
  forward.denoise = false;
  forward.w[0][kColX] = 0.25;
  RowTask task = {.slot = f.StartAt(1234), .row = &forward};  // the denoiser would throw
  ASSERT_TRUE(f.Execute({task}, 0).ok());
  EXPECT_EQ(f.executor->denoiser_seconds(), 0);
  EXPECT_THAT(f.Read(task.slot), Each(308.5f));

  // And share a batch with rows that do: they do not take the others' answers.
  const Row reverse = AnswerRow(0);
  const std::vector<RowTask> tasks = {{.slot = task.slot, .row = &forward},
                                      {.slot = f.StartAt(2), .row = &reverse}};
  ASSERT_TRUE(f.Execute(tasks, 1).ok());
  EXPECT_THAT(f.Read(tasks[0].slot), Each(77.125f));
  EXPECT_THAT(f.Read(tasks[1].slot), Each(1.0f));
}

TEST(TorchExecutorTest, GivesLearnedVarianceToTheRow) {
  Fixture f("learned_variance");
  ChainStart start;
  start.seed = 3;
  start.stochastic = true;
  start.scale = 0;
  const SlotId slot = *f.executor->Start(start);  // x = 0, so f is ½
  Row row = AnswerRow(500);
  row.noise = true;
  row.w[0][kColZ] = 1;
  row.variance = RowVariance::kLearnedRange;
  row.log_var_min = std::log(4.0);
  row.log_var_max = std::log(16.0);
  ASSERT_TRUE(f.Execute({{.slot = slot, .row = &row}}, 2).ok());
  const std::vector<float> x = f.Read(slot);

  // The same chain with z alone.
  const SlotId other = *f.executor->Start(start);
  row = AnswerRow(0);
  row.noise = true;
  row.w[0][kColOut] = 0;
  row.w[0][kColZ] = 1;
  ASSERT_TRUE(f.Execute({{.slot = other, .row = &row}}, 1).ok());
  const std::vector<float> z = f.Read(other);
  for (int64_t i = 0; i < f.values; ++i) {
    EXPECT_NEAR(x[i], 0.5 + z[i] * std::sqrt(8.0), 1e-5) << i;
  }
}

TEST(TorchExecutorTest, GivesTheAnswerAsItCame) {
  Fixture f("learned_variance");
  Row row = AnswerRow(500);
  row.w[0][kColOut] = 0;
  row.w[0][kColX] = 1;
  row.clip = true;
  std::vector<float> answer(2 * f.values);
  const Row other = AnswerRow(0);
  const std::vector<RowTask> tasks = {
      {.slot = f.StartAt(1), .row = &other},
      {.slot = f.StartAt(8), .row = &row, .answer_out = answer.data()}};
  ASSERT_TRUE(f.Execute(tasks, 4).ok());
  const auto half = absl::MakeConstSpan(answer);
  EXPECT_THAT(half.subspan(0, f.values), Each(4.5f));  // x/2 + t/1000, far outside the clip
  EXPECT_THAT(half.subspan(f.values), Each(8.0f));     // x, as the variance's channels
  EXPECT_THAT(f.Read(tasks[1].slot), Each(8.0f));

  Row forward = row;
  forward.denoise = false;
  const RowTask none = {.slot = f.StartAt(1), .row = &forward, .answer_out = answer.data()};
  EXPECT_TRUE(absl::IsInternal(f.Execute({none}, 0)));
}

TEST(TorchExecutorTest, TakesTheNearestWholeTimeWhereTimeIsWhole) {
  Fixture f("integer_time");
  const Row whole = AnswerRow(3), next = AnswerRow(2.75);
  const std::vector<RowTask> tasks = {{.slot = f.StartAt(1), .row = &whole},
                                      {.slot = f.StartAt(1), .row = &next}};
  ASSERT_TRUE(f.Execute(tasks, 2).ok());
  EXPECT_EQ(f.Read(tasks[0].slot), f.Read(tasks[1].slot));
}

// Conditions of "conditioned": n rows of `words` words, the last of them masked.
Conditions TextOf(const std::vector<float>& rows, int64_t words, int64_t size, float weight) {
  const auto append = [](Condition& to, const auto& value) {
    const char* const bytes = reinterpret_cast<const char*>(&value);
    to.data.insert(to.data.end(), bytes, bytes + sizeof(value));
  };
  Conditions all(4);
  Condition& text = all[0];
  text = {ElementType::kFloat32, {words, 3}, static_cast<size_t>(words) * 3 * sizeof(float)};
  for (const float value : rows) {
    for (int64_t i = 0; i < 3 * words; ++i) append(text, i < 3 * (words - 1) ? value : 1e6f);
  }
  all[1] = {ElementType::kBool, {words}, static_cast<size_t>(words), true};
  for (int64_t i = 0; i < words; ++i) append(all[1], i < words - 1);
  all[2] = {ElementType::kInt64, {2}, 2 * sizeof(int64_t), true};
  append(all[2], int64_t{99});
  append(all[2], size);
  all[3] = {ElementType::kFloat32, {}, sizeof(float), true};
  append(all[3], weight);
  return all;
}

float Conditioned(float x, double t, int64_t y, float text, int64_t size, float weight) {
  return Formula(x, t, y) + text + 0.5f * size + weight;
}

TEST(TorchExecutorTest, GivesEveryRowItsOwnConditions) {
  Fixture f("conditioned");
  const Row row = AnswerRow(100);
  // Batches of one shape each: memory grows, is used again, and grows.
  for (const int64_t words : {3, 2, 9}) {
    const Conditions mine = TextOf({10, 20, 30}, words, 4, 7);
    const Conditions others = TextOf({-1}, words, -2, 0.25);
    std::vector<RowTask> tasks(4);
    for (uint32_t i = 0; i < 3; ++i) {
      tasks[i] = {.slot = f.StartAt(i), .row = &row, .label = i, .sample = 2 - i};
      tasks[i].conditions = &mine;
    }
    tasks[3] = {.slot = f.StartAt(5), .row = &row, .label = 3, .conditions = &others};
    ASSERT_TRUE(f.Execute(tasks, 8).ok());
    for (int i = 0; i < 3; ++i) {
      EXPECT_THAT(f.Read(tasks[i].slot), Each(FloatEq(Conditioned(i, 100, i, 10 * (3 - i), 4, 7))));
    }
    EXPECT_THAT(f.Read(tasks[3].slot), Each(FloatEq(Conditioned(5, 100, 3, -1, -2, 0.25))));
    for (const RowTask& task : tasks) f.executor->Free(task.slot);
  }
}

TEST(TorchExecutorTest, GuidesAwayFromNegativeConditions) {
  Fixture f("conditioned");
  const Row row = AnswerRow(100);
  const Conditions positive = TextOf({8}, 2, 0, 0), negative = TextOf({2}, 2, 0, 0);
  RowTask task = {.slot = f.StartAt(0), .row = &row, .conditions = &positive};
  task.guided = true;
  task.negative_conditions = &negative;
  task.guidance = 3;
  ASSERT_TRUE(f.Execute({task}, 4).ok());
  EXPECT_THAT(f.Read(task.slot), Each(FloatEq(0.1f + 2 + 3 * (8 - 2))));
}

TEST(TorchExecutorTest, RefusesBatchesOfSeveralShapes) {
  Fixture f("conditioned");
  const Row row = AnswerRow(0);
  const Conditions two = TextOf({1}, 2, 0, 0), three = TextOf({1}, 3, 0, 0);
  RowTask a = {.slot = f.StartAt(1), .row = &row, .conditions = &two};
  RowTask b = {.slot = f.StartAt(2), .row = &row, .conditions = &three};
  EXPECT_THAT(std::string(f.Execute({a, b}, 2).message()), HasSubstr("different shapes"));
  b.conditions = nullptr;
  EXPECT_TRUE(absl::IsInternal(f.Execute({a, b}, 2)));
  EXPECT_TRUE(absl::IsInternal(f.Execute({b}, 1)));
  const Conditions few(1);
  b.conditions = &few;
  EXPECT_TRUE(absl::IsInternal(f.Execute({b}, 1)));
  Conditions wrong = two;
  wrong[2].type = ElementType::kFloat32;
  b.conditions = &wrong;
  EXPECT_THAT(std::string(f.Execute({b}, 1).message()), HasSubstr("sizes is not as"));
  EXPECT_THAT(f.Read(a.slot), Each(1.0f));
}

TEST(TorchExecutorTest, OtherPrecisionsDifferByTheirRounding) {
  const Row row = AnswerRow(250);
  std::map<std::string, std::vector<float>> answers;
  for (const char* name : {"float32", "float16", "bfloat16", "float64"}) {
    Fixture f(name, {.batch_sizes = {4}});
    const SlotId slot = *f.executor->Start({.seed = 1});
    ASSERT_TRUE(f.Execute({{.slot = slot, .row = &row, .label = 3}}, 4).ok());
    answers[name] = f.Read(slot);
  }
  using ::testing::FloatNear;
  EXPECT_THAT(answers["float64"], Pointwise(FloatNear(1e-5), answers["float32"]));
  EXPECT_THAT(answers["float16"], Pointwise(FloatNear(5e-3), answers["float32"]));
  EXPECT_THAT(answers["bfloat16"], Pointwise(FloatNear(5e-2), answers["float32"]));
  EXPECT_NE(answers["float16"], answers["float32"]);
  EXPECT_NE(answers["bfloat16"], answers["float32"]);
}

TEST(TorchExecutorTest, CastsConditionsToThePrecision) {
  const Row row = AnswerRow(250);
  std::vector<std::vector<float>> answers;
  for (const char* name : {"text_float32", "text_bfloat16"}) {
    Fixture f(name, {.batch_sizes = {2}});
    Conditions text(1);
    text[0] = {ElementType::kFloat32, {2, 3}, 6 * sizeof(float)};
    const std::vector<float> values = {0.5, -1, 2, 0.25, 1, -3};
    const char* const bytes = reinterpret_cast<const char*>(values.data());
    text[0].data.assign(bytes, bytes + text[0].row_bytes);
    const SlotId slot = *f.executor->Start({.seed = 1});
    ASSERT_TRUE(f.Execute({{.slot = slot, .row = &row, .conditions = &text}}, 2).ok());
    answers.push_back(f.Read(slot));
  }
  EXPECT_THAT(answers[1], Pointwise(::testing::FloatNear(5e-2), answers[0]));
}

TEST(TorchExecutorTest, LayoutMakesNoDifferenceToValues) {
  Fixture contiguous("convolutions", {.layout = "contiguous", .batch_sizes = {4}});
  Fixture channels_last("convolutions", {.layout = "channels_last", .batch_sizes = {4}});
  ASSERT_EQ(channels_last.served->info()->layout, "channels_last");
  const Row row = AnswerRow(250);
  std::vector<std::vector<float>> answers;
  for (Fixture* f : {&contiguous, &channels_last}) {
    std::vector<RowTask> tasks;
    for (uint64_t seed = 0; seed < 3; ++seed) {
      const SlotId slot = *f->executor->Start({.seed = seed});
      tasks.push_back({.slot = slot, .row = &row, .label = static_cast<int64_t>(seed)});
    }
    ASSERT_TRUE(f->Execute(tasks, 4).ok());
    for (const RowTask& task : tasks) answers.push_back(f->Read(task.slot));
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(answers[i + 3], Pointwise(::testing::FloatNear(1e-5), answers[i]));
    EXPECT_THAT(answers[i], Not(Each(answers[i][0])));
  }
}

TEST(TorchExecutorTest, RefusesBatchesThatWereNotMeasured) {
  Fixture f("formula");
  const Row row = AnswerRow(0);
  const RowTask task = {.slot = f.StartAt(1), .row = &row};
  EXPECT_TRUE(absl::IsInternal(f.Execute({task}, 0)));
  EXPECT_TRUE(absl::IsInternal(f.Execute({task}, 3)));
  EXPECT_TRUE(absl::IsInternal(f.Execute({task}, 16)));
  Row noisy = row;
  noisy.noise = true;
  EXPECT_TRUE(absl::IsInternal(f.Execute({{.slot = task.slot, .row = &noisy}}, 1)));
  EXPECT_THAT(f.Read(task.slot), Each(1.0f));
}

// Sanitizers end the program where an allocation fails.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(TorchExecutorTest, SaysSoWhenThereIsNoMemoryForAChain) {
  Fixture f("formula");
  ChainStart start;
  start.registers = std::numeric_limits<int>::max();  // 206 GB
  const auto slot = f.executor->Start(start);
  EXPECT_TRUE(absl::IsResourceExhausted(slot.status())) << slot.status();
  EXPECT_EQ(f.StartAt(1), 0);
}

TEST(TorchExecutorTest, SaysSoWhenThereIsNoMemoryForACall) {
  Fixture f("formula");
  const Row row = AnswerRow(0);
  const RowTask task = {.slot = f.StartAt(5678), .row = &row};
  const absl::Status status = f.Execute({task}, 1);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(status.message(), "there is not enough memory");
  EXPECT_THAT(f.Read(task.slot), Each(5678.0f));
}
#endif

TEST(TorchExecutorTest, ReplicasShareAModuleOnThreadsOfTheirOwn) {
  const auto model = ServeTestModel("convolutions", {.batch_sizes = {4}});
  ASSERT_TRUE(model.ok()) << model.status();
  const Row row = AnswerRow(250);
  std::array<std::vector<float>, 3> answers;
  std::vector<std::thread> replicas;
  for (std::vector<float>& answer : answers) {
    replicas.emplace_back([&answer, &row, &model] {
      PrepareEngineThread(1);
      auto executor = (*model)->MakeExecutor();
      ASSERT_TRUE(executor.ok()) << executor.status();
      answer.resize((*model)->info()->shape.values());
      for (int call = 0; call < 50; ++call) {
        const SlotId slot = *(*executor)->Start({.seed = 1});
        bool finite = false;
        ASSERT_TRUE((*executor)->Execute({{.slot = slot, .row = &row}}, 4, {&finite, 1}).ok());
        (*executor)->Read(slot, answer.data());
        (*executor)->Free(slot);
      }
    });
  }
  for (std::thread& replica : replicas) replica.join();
  EXPECT_EQ(answers[1], answers[0]);
  EXPECT_EQ(answers[2], answers[0]);
  EXPECT_THAT(answers[0], Not(Each(answers[0][0])));
}

TEST(TorchExecutorTest, UsesFreedSlotsAgain) {
  Fixture f("formula");
  const SlotId a = f.StartAt(1), b = f.StartAt(2);
  EXPECT_NE(a, b);
  f.executor->Free(a);
  EXPECT_EQ(f.StartAt(3), a);
  EXPECT_THAT(f.Read(b), Each(2.0f));
  EXPECT_THAT(f.Read(a), Each(3.0f));
}

// Noise against numbers that Python's torch.randn has written.
TEST(NoiseTest, IsWhatTorchDraws) {
  std::ifstream file(TestModelFolder("noise.txt"));
  std::string line;
  int lines = 0;
  while (std::getline(file, line)) {
    ++lines;
    SCOPED_TRACE(line.substr(0, 30));
    std::istringstream words(line);
    uint64_t seed;
    int64_t c, h, w;
    ASSERT_TRUE(words >> seed >> c >> h >> w);
    Fixture f(absl::StrCat("plain_", c, "x", h, "x", w).c_str());
    std::vector<float> first(f.values), second(f.values);
    for (std::vector<float>* draw : {&first, &second}) {
      for (float& value : *draw) {
        double number;
        ASSERT_TRUE(words >> number);
        value = static_cast<float>(number);
      }
    }
    const SlotId plain = *f.executor->Start({.seed = seed});
    EXPECT_THAT(f.Read(plain), Pointwise(::testing::FloatNear(1e-5), first));

    const SlotId stochastic = *f.executor->Start({.seed = seed, .stochastic = true});
    EXPECT_EQ(f.Read(stochastic), f.Read(plain));
    Row row;
    row.denoise = false;
    row.noise = true;
    row.w[0][kColZ] = 1;
    ASSERT_TRUE(f.Execute({{.slot = stochastic, .row = &row}}, 0).ok());
    EXPECT_THAT(f.Read(stochastic), Pointwise(::testing::FloatNear(1e-5), second));
  }
  EXPECT_EQ(lines, 12);
}

TEST(NoiseTest, OnlyTheLow32BitsOfASeedCount) {
  Fixture f("plain_1x28x28");
  const SlotId a = *f.executor->Start({.seed = 5}),
               b = *f.executor->Start({.seed = 5 + (1ull << 32)}),
               c = *f.executor->Start({.seed = 6});
  EXPECT_EQ(f.Read(a), f.Read(b));
  EXPECT_NE(f.Read(a), f.Read(c));
}

}  // namespace
}  // namespace denoise
