// Evaluate's messages, through the validator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/rpc/validator_fixture.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using EvaluateRequestTest = ValidatorTest;
using E = v1::EvaluateRequest;

E Good() {
  E message;
  *message.mutable_x_0() = Values({2, 1, 2, 3});
  return message;
}

ModelInfo OfLevels(int64_t levels, float min = -1) {
  ModelInfo model = TestModel();
  model.levels = levels;
  model.value_min = min;
  return model;
}

ModelInfo Flow() {
  ModelInfo model = TestModel("flowing");  // and says nothing of levels
  model.config.prediction = Prediction::kFlow;
  return model;
}

TEST_F(EvaluateRequestTest, AllTimesteps) {
  E message = Good();
  message.set_seed(7);
  message.add_class_labels(3);
  const auto validated = Validate(message, Pictures());
  ASSERT_TRUE(validated.ok()) << validated.status();
  const Request& request = validated->request;
  EXPECT_EQ(request.num_samples, 2u);
  EXPECT_EQ(request.seed, 7u);
  EXPECT_THAT(request.labels, ElementsAre(3, 3));
  EXPECT_EQ(request.start.size(), 12u);
  EXPECT_THAT(request.start, Each(0.5f));
  EXPECT_FALSE(request.guided);
  EXPECT_FALSE(request.states.any());
  ASSERT_EQ(request.table->terms.size(), 100u);
  EXPECT_EQ(request.table->rows.front().timestep, 99);
  EXPECT_EQ(request.table->rows.back().timestep, 0);
  EXPECT_EQ(request.rows_per_chain(), 100u);
  EXPECT_EQ(request.conditions, nullptr);

  // It gathers the terms of these samples.
  ASSERT_NE(request.evaluation, nullptr);
  EXPECT_FALSE(request.evaluation->Add(0, 99, {}).has_value());
  const auto term = request.evaluation->Add(1, 99, {.nats = 6});
  ASSERT_TRUE(term.has_value());
  EXPECT_EQ(term->timestep, 0u);
  // 6 nats of 6 values.
  EXPECT_NEAR(term->bits_per_dim[1], 1.4427, 1e-4);
}

TEST_F(EvaluateRequestTest, SomeTimestepsByTheSeed) {
  E message = Good();
  message.set_num_timesteps(8);
  const auto times = [&](uint64_t seed) {
    message.set_seed(seed);
    const auto validated = Validate(message, Pictures());
    std::vector<double> times;
    for (const Row& row : validated->request.table->rows) times.push_back(row.timestep);
    return times;
  };
  EXPECT_LT(times(1).size(), 10u);
  EXPECT_EQ(times(1), times(1));
  EXPECT_NE(times(1), times(2));
}

TEST_F(EvaluateRequestTest, Clipping) {
  E message = Good();
  for (const bool clip : {false, true}) {
    message.set_clip_sample(clip);
    EXPECT_EQ(Validate(message, Pictures())->request.table->rows[0].clip, clip);
  }
  message.clear_clip_sample();
  ModelInfo model = Pictures();
  for (const bool clip : {false, true}) {
    model.config.clip_sample = clip;
    EXPECT_EQ(Validate(message, model)->request.table->rows[0].clip, clip);
  }
}

TEST_F(EvaluateRequestTest, Conditions) {
  ModelInfo model = Conditioned();
  model.levels = 256;
  model.inputs.erase(model.inputs.begin() + 1, model.inputs.end());
  E message = Good();
  EXPECT_TRUE((*Validate(message, model)->request.conditions)[0].one_for_all);
  (*message.mutable_conditions())["style"] = Values({2, 3});
  EXPECT_FALSE((*Validate(message, model)->request.conditions)[0].one_for_all);
  (*message.mutable_conditions())["style"] = Values({2, 3}, kNan);
  EXPECT_EQ(FieldOf(Validate(message, model).status()), "conditions[\"style\"].data");
}

TEST_F(EvaluateRequestTest, BadOnesAreToldFieldValueAndFix) {
  const std::vector<Bad> cases = {
      {"priority: 101", "priority", {"101", "-100..100"}, Pictures()},
      {"num_timesteps: 1", "num_timesteps", {"1", "2..100"}, Pictures()},
      {"num_timesteps: 101", "num_timesteps", {"101", "2..100"}, Pictures()},
      {"num_timesteps: 4294967295", "num_timesteps", {"4294967295"}, Pictures()},
      {"class_labels: 77", "class_labels[0]", {"77"}, Pictures()},
      {"class_labels: [1, 2, 3]", "class_labels", {"3 labels for 2 samples"}, Pictures()},
      {Text("conditions", "text", Values({1})), "conditions", {"\"text\""}, Pictures()},
      {"", "model", {"256 levels", "does not say", "\"levels\": 256"}, OfLevels(0)},
      {"", "model", {"says 16"}, OfLevels(16)},
      {"", "model", {"-1..1", "0..1"}, OfLevels(256, 0)},
      {"", "model", {"flow model"}, Flow()},
  };
  ExpectRefused(Good(), cases);
  const std::vector<Bad> samples = {
      {"", "x_0", {"missing", "[n, C, H, W]"}, Pictures()},
      {Text("x_0", Values({1, 3, 2, 1})),
       "x_0.shape",
       {"[1, 3, 2, 1] is not [n, 1, 2, 3]"},
       Pictures()},
      {Text("x_0", Values({65, 1, 2, 3})), "x_0.shape", {"65", "64"}, Pictures()},
      {Text("x_0", Values({1, 1, 2, 3}, kInf)), "x_0.data", {"inf"}, Pictures()},
      {Text("x_0", Values({1, 1, 2, 3}, 200)), "x_0.data", {"200", "-1.5..1.5"}, Pictures()},
  };
  ExpectRefused(E(), samples);
}

TEST_F(EvaluateRequestTest, TermsLargerThanAMessageAreRefused) {
  limits_.max_message_bytes = 1024 + 3 * 8 * 10;
  E message = Good();
  *message.mutable_x_0() = Values({10, 1, 2, 3});
  EXPECT_TRUE(Validate(message, Pictures()).ok());
  *message.mutable_x_0() = Values({11, 1, 2, 3});
  const auto refused = Validate(message, Pictures());
  EXPECT_EQ(FieldOf(refused.status()), "x_0.shape");
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("1288 bytes"));
}

}  // namespace
}  // namespace denoise
