// Class labels and guidance, through the validator.
#include "server/rpc/messages/guidance_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "tests/unit/rpc/validator_fixture.h"

namespace denoise {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

using GuidanceTest = ValidatorTest;
using S = v1::SampleRequest;

// Good for Conditioned().
S WithSize() {
  return With(S(), Text("conditions", "size", Values({1}, 4)) + R"pb(
    conditions {
      key: "tokens"
      value {
        dtype: DATA_TYPE_INT64
        shape: [ 1, 1 ]
        data: "\1\0\0\0\0\0\0\0"
      }
    }
    conditions {
      key: "mask"
      value {
        dtype: DATA_TYPE_BOOL
        shape: [ 1, 1, 2 ]
        data: "\1\1"
      }
    })pb");
}

// A model with a condition that has no null value, and nothing else.
ModelInfo WithoutNull() {
  ModelInfo model = Conditioned();
  model.inputs.erase(model.inputs.begin(), model.inputs.begin() + 3);
  return model;
}

TEST_F(GuidanceTest, BadLabelsAndGuidanceAreToldFieldValueAndFix) {
  const std::vector<Bad> cases = {
      {"guidance_scale: nan", "guidance_scale", {"nan", "-1000..1000"}},
      {"guidance_scale: -inf", "guidance_scale", {"-inf"}},
      {"guidance_scale: 1e38", "guidance_scale", {"1e+38"}},
      {"guidance_scale: -1001", "guidance_scale", {"-1001"}},
      {"guidance_scale: 2",
       "guidance_scale",
       {"2", "\"plain\" has neither", "give 1"},
       WithoutClasses()},
      {"class_labels: 1 guidance_scale: 2",
       "guidance_scale",
       {"2", "\"conditional\"", "negative_class_labels"},
       WithoutNullClass()},
      {"class_labels: 11", "class_labels[0]", {"11", "0..9", "null class 10"}},
      {"class_labels: -1", "class_labels[0]", {"-1"}},
      {"class_labels: 4611686018427387904", "class_labels[0]", {"4611686018427387904"}},
      {"num_samples: 3 class_labels: [0, 9, 12]", "class_labels[2]", {"12"}},
      {"class_labels: 10", "class_labels[0]", {"10", "0..9"}, WithoutNullClass()},
      {"num_samples: 3 class_labels: [1, 2]",
       "class_labels",
       {"2 labels", "3 samples", "one a sample"}},
      {"num_samples: 3 class_labels: [1, 2, 3, 4]", "class_labels", {"4 labels", "3 samples"}},
      {Times(100'000, "class_labels: 1"), "class_labels", {"100000"}},
      {"class_labels: 0",
       "class_labels",
       {"1 given", "no classes", "leave them out"},
       WithoutClasses()},
      {"", "class_labels", {"none given", "0..9"}, WithoutNullClass()},
      {"class_labels: 1 guidance_rescale: 1.5", "guidance_rescale", {"1.5", "0..1"}},
      {"guidance_rescale: -0.25", "guidance_rescale", {"-0.25"}},
      {"guidance_rescale: nan", "guidance_rescale", {"nan"}},
      {"class_labels: 1 guidance_scale: 1 guidance_rescale: 0.5",
       "guidance_rescale",
       {"0.5 does nothing", "set guidance_scale"}},
      {"guidance_rescale: 0.5", "guidance_rescale", {"0.5 does nothing", "set guidance_scale"}},
      {"guidance_scale: 2 guidance_interval { sigma_min: nan }",
       "guidance_interval.sigma_min",
       {"nan", "from 0 on"}},
      {"guidance_scale: 2 guidance_interval { sigma_min: -1 }",
       "guidance_interval.sigma_min",
       {"-1"}},
      {"guidance_scale: 2 guidance_interval { sigma_max: nan }",
       "guidance_interval.sigma_max",
       {"nan", "0 for no upper bound"}},
      {"guidance_scale: 2 guidance_interval { sigma_max: inf }",
       "guidance_interval.sigma_max",
       {"inf", "0 for no upper bound"}},
      {"guidance_scale: 2 guidance_interval { sigma_min: 3 sigma_max: 3 }",
       "guidance_interval.sigma_max",
       {"3 is not", "above sigma_min, 3"}},
      {"guidance_scale: 0 guidance_interval { sigma_min: 1 }",
       "guidance_interval",
       {"1..0 does nothing", "set guidance_scale"}},
      {"guidance_scale: 2 negative_class_labels: 11", "negative_class_labels[0]", {"11", "0..9"}},
      {"num_samples: 3 guidance_scale: 2 negative_class_labels: [0, 1]",
       "negative_class_labels",
       {"2 labels", "3 samples"}},
      {"guidance_scale: 1 negative_class_labels: 7",
       "negative_class_labels",
       {"7 does nothing", "set guidance_scale"}},
      {"guidance_scale: 2 negative_class_labels: 7",
       "negative_class_labels",
       {"no classes", "leave them out"},
       WithoutClasses()},
      {Text("conditions", "size", Values({1}, 4)) + "guidance_scale: 2",
       "guidance_scale",
       {"2", "\"conditioned\" has neither", "negative_conditions"},
       WithoutNull()},
  };
  ExpectRefused(S(), cases);
  ExpectRefused(WithSize(),
                {{"guidance_scale: 1" + Text("negative_conditions", "style", Values({1, 3})),
                  "negative_conditions",
                  {"\"style\" does nothing", "set guidance_scale"},
                  Conditioned()}});
}

TEST_F(GuidanceTest, LabelsAreSpreadOverTheSamples) {
  S message;
  message.set_num_samples(3);
  message.add_class_labels(7);
  EXPECT_THAT(Validate(message)->request.labels, ElementsAre(7, 7, 7));
  message.add_class_labels(10);  // the null class
  message.add_class_labels(0);
  EXPECT_THAT(Validate(message)->request.labels, ElementsAre(7, 10, 0));
  message.clear_class_labels();
  EXPECT_THAT(Validate(message)->request.labels, ElementsAre(10, 10, 10));
  EXPECT_TRUE(Validate(message, WithoutClasses())->request.labels.empty());
}

TEST_F(GuidanceTest, Guidance) {
  S message;
  message.add_class_labels(3);
  Request request = Validate(message)->request;
  EXPECT_TRUE(request.guided);  // the model's default, 2
  EXPECT_EQ(request.guidance, 2);
  EXPECT_THAT(request.negative_labels, Each(10));
  EXPECT_FALSE(Validate(message, WithoutNullClass())->request.guided);

  // One row, with the label: not the unconditional prediction.
  for (const float scale : {0.0f, 1.0f}) {
    message.set_guidance_scale(scale);
    request = Validate(message)->request;
    EXPECT_FALSE(request.guided) << scale;
    EXPECT_THAT(request.labels, ElementsAre(3)) << scale;
  }
  message.set_guidance_scale(-1000);
  EXPECT_EQ(Validate(message)->request.guidance, -1000);

  // Between the null class and itself.
  message.clear_class_labels();
  message.set_guidance_scale(5);
  EXPECT_FALSE(Validate(message)->request.guided);
  message.set_guidance_scale(1);
  EXPECT_TRUE(Validate(message, WithoutClasses()).ok());
}

TEST_F(GuidanceTest, RescaleAndInterval) {
  S message;
  message.add_class_labels(3);
  Request request = Validate(message)->request;
  EXPECT_EQ(request.guidance_rescale, 0);
  // Everywhere, also where there is no noise and where there is nothing else.
  EXPECT_LT(request.guidance_sigma_min, 0);
  EXPECT_EQ(request.guidance_sigma_max, std::numeric_limits<double>::infinity());

  message.set_guidance_rescale(1);
  message.mutable_guidance_interval()->set_sigma_min(0.5f);
  request = Validate(message)->request;
  EXPECT_EQ(request.guidance_rescale, 1);
  EXPECT_EQ(request.guidance_sigma_min, 0.5);
  EXPECT_EQ(request.guidance_sigma_max, std::numeric_limits<double>::infinity());
  const uint64_t rows = request.rows_per_chain();
  EXPECT_GT(rows, 20u);
  EXPECT_LT(rows, 40u);

  message.mutable_guidance_interval()->set_sigma_max(0.75f);
  request = Validate(message)->request;
  EXPECT_EQ(request.guidance_sigma_max, 0.75);
  EXPECT_LT(request.rows_per_chain(), rows);

  // Of no effect, but meant: the label happens to be the null class.
  message.set_class_labels(0, 10);
  EXPECT_FALSE(Validate(message)->request.guided);
}

TEST_F(GuidanceTest, NegativeLabelsReplaceTheNullClass) {
  S message;
  message.set_num_samples(2);
  message.set_guidance_scale(3);
  message.add_class_labels(3);
  message.add_negative_class_labels(4);
  EXPECT_THAT(Validate(message)->request.negative_labels, ElementsAre(4, 4));
  message.add_negative_class_labels(10);
  EXPECT_THAT(Validate(message)->request.negative_labels, ElementsAre(4, 10));

  // It takes one sample that differs.
  message.set_negative_class_labels(1, 3);
  EXPECT_TRUE(Validate(message)->request.guided);
  message.set_negative_class_labels(0, 3);
  const Request request = Validate(message)->request;
  EXPECT_FALSE(request.guided);
  EXPECT_TRUE(request.negative_labels.empty());

  // They make guidance possible where there is no null class, at the default scale too.
  message.clear_guidance_scale();
  message.set_negative_class_labels(0, 4);
  EXPECT_TRUE(Validate(message, WithoutNullClass())->request.guided);
  // And stand alone, against the null class.
  message.clear_class_labels();
  EXPECT_TRUE(Validate(message)->request.guided);
}

float FirstFloat(const Condition& condition, uint32_t sample = 0) {
  float value;
  std::memcpy(&value, condition.row(sample), sizeof(value));
  return value;
}

TEST_F(GuidanceTest, ByConditions) {
  ModelInfo model = Conditioned();
  S message = WithSize();
  (*message.mutable_conditions())["style"] = Values({1, 3});
  Request request = Validate(message, model)->request;
  EXPECT_TRUE(request.guided);  // the model's default, as conditions are named
  EXPECT_EQ(request.guidance, 2);
  EXPECT_TRUE(request.negative_labels.empty());
  ASSERT_EQ(request.negative_conditions->size(), 4u);
  EXPECT_EQ(FirstFloat((*request.negative_conditions)[0]), 1);
  // What has no null value is the same in both.
  EXPECT_EQ(FirstFloat((*request.negative_conditions)[3]), 4);
  EXPECT_TRUE(SameShapes(*request.conditions, *request.negative_conditions));

  (*message.mutable_negative_conditions())["size"] = Values({1}, 8);
  request = Validate(message, model)->request;
  EXPECT_EQ(FirstFloat((*request.negative_conditions)[0]), 1);
  EXPECT_EQ(FirstFloat((*request.negative_conditions)[3]), 8);

  message.set_guidance_scale(1);
  message.clear_negative_conditions();
  request = Validate(message, model)->request;
  EXPECT_FALSE(request.guided);
  EXPECT_NE(request.conditions, nullptr);
  EXPECT_EQ(request.negative_conditions, nullptr);
}

TEST_F(GuidanceTest, ConditionsThatDifferInOneSampleOnly) {
  S message;
  message.set_num_samples(3);
  message.set_guidance_scale(2);
  v1::Tensor& size = (*message.mutable_conditions())["size"];
  SetTensor({3}, std::vector<float>{5, 5, 5}, &size);
  v1::Tensor& negative = (*message.mutable_negative_conditions())["size"];
  SetTensor({1}, std::vector<float>{5}, &negative);
  EXPECT_FALSE(Validate(message, WithoutNull())->request.guided);
  SetTensor({3}, std::vector<float>{5, 5, 6}, &size);
  EXPECT_TRUE(Validate(message, WithoutNull())->request.guided);
  SetTensor({3}, std::vector<float>{5, 5, 5}, &size);
  SetTensor({3}, std::vector<float>{5, 5, 6}, &negative);
  const Request request = Validate(message, WithoutNull())->request;
  EXPECT_TRUE(request.guided);
  EXPECT_EQ(FirstFloat((*request.negative_conditions)[0], 2), 6);
}

TEST_F(GuidanceTest, ByClassesWhereAConditionHasNoNull) {
  ModelInfo model = TestModel();
  model.inputs.push_back(Conditioned().inputs.back());
  S message;
  message.add_class_labels(3);
  (*message.mutable_conditions())["size"] = Values({1}, 4);
  const Request request = Validate(message, model)->request;
  EXPECT_TRUE(request.guided);
  EXPECT_THAT(request.negative_labels, Each(10));
  EXPECT_EQ(FirstFloat((*request.negative_conditions)[0]), 4);
}

TEST_F(GuidanceTest, ByConditionsWhereThereIsNoNullClass) {
  ModelInfo model = WithoutNullClass();
  model.inputs.push_back(Conditioned().inputs.front());
  S message;
  message.add_class_labels(3);
  (*message.mutable_conditions())["style"] = Values({1, 3});
  const Request request = Validate(message, model)->request;
  EXPECT_TRUE(request.guided);
  EXPECT_THAT(request.negative_labels, ElementsAre(3));
  EXPECT_EQ(FirstFloat((*request.negative_conditions)[0]), 1);
}

}  // namespace
}  // namespace denoise
