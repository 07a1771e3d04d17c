// Further inputs, through the validator.
#include "server/rpc/messages/conditions_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "tests/unit/rpc/validator_fixture.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using ConditionsTest = ValidatorTest;
using S = v1::SampleRequest;

v1::Tensor Int64s(const std::vector<int64_t>& shape, const std::vector<int64_t>& values) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_INT64);
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
  tensor.set_data(values.data(), values.size() * sizeof(int64_t));
  return tensor;
}

v1::Tensor Bools(const std::vector<int64_t>& shape, const std::string& bytes) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_BOOL);
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
  tensor.set_data(bytes);
  return tensor;
}

std::string Given(const char* name, const v1::Tensor& tensor) {
  return Text("conditions", name, tensor);
}
std::string Negative(const char* name, const v1::Tensor& tensor) {
  return Text("negative_conditions", name, tensor);
}

// Two samples for Conditioned(), with three tokens; "style" is left out.
S Good() {
  return Proto<S>("num_samples: 2 guidance_scale: 2 " +
                  Given("tokens", Int64s({2, 3}, {1, 2, 3, 4, 5, 6})) +
                  Given("mask", Bools({1, 3, 2}, std::string("\1\0\1\0\1\0", 6))) +
                  Given("size", Values({2}, 4)));
}

template <typename T>
std::vector<T> RowOf(const Condition& condition, uint32_t sample) {
  std::vector<T> values(condition.row_bytes / sizeof(T));
  std::memcpy(values.data(), condition.row(sample), condition.row_bytes);
  return values;
}

TEST_F(ConditionsTest, InTheOrderOfTheInputs) {
  const auto validated = Validate(Good(), Conditioned());
  ASSERT_TRUE(validated.ok()) << validated.status();
  const Conditions& conditions = *validated->request.conditions;
  ASSERT_EQ(conditions.size(), 4u);

  EXPECT_EQ(conditions[0].type, ElementType::kFloat32);
  EXPECT_THAT(conditions[0].shape, ElementsAre(3));
  EXPECT_TRUE(conditions[0].one_for_all);
  EXPECT_THAT(RowOf<float>(conditions[0], 1), ElementsAre(1, 2, 3));  // the null value

  EXPECT_EQ(conditions[1].type, ElementType::kInt64);
  EXPECT_THAT(conditions[1].shape, ElementsAre(3));
  EXPECT_EQ(conditions[1].row_bytes, 24u);
  EXPECT_FALSE(conditions[1].one_for_all);
  EXPECT_THAT(RowOf<int64_t>(conditions[1], 0), ElementsAre(1, 2, 3));
  EXPECT_THAT(RowOf<int64_t>(conditions[1], 1), ElementsAre(4, 5, 6));

  EXPECT_EQ(conditions[2].type, ElementType::kBool);
  EXPECT_THAT(conditions[2].shape, ElementsAre(3, 2));
  EXPECT_TRUE(conditions[2].one_for_all);
  EXPECT_THAT(RowOf<char>(conditions[2], 1), ElementsAre(1, 0, 1, 0, 1, 0));

  EXPECT_THAT(conditions[3].shape, IsEmpty());
  EXPECT_THAT(RowOf<float>(conditions[3], 1), ElementsAre(4));
}

TEST_F(ConditionsTest, NullValuesHaveTheShapeOfWhatIsGiven) {
  const auto validated = Validate(Good(), Conditioned());
  ASSERT_TRUE(validated.ok()) << validated.status();
  const Conditions& negative = *validated->request.negative_conditions;
  EXPECT_TRUE(SameShapes(*validated->request.conditions, negative));
  EXPECT_THAT(RowOf<float>(negative[0], 0), ElementsAre(1, 2, 3));
  EXPECT_THAT(RowOf<int64_t>(negative[1], 1), ElementsAre(-5, -5, -5));
  EXPECT_THAT(RowOf<char>(negative[2], 1), ElementsAre(1, 1, 1, 1, 1, 1));
}

TEST_F(ConditionsTest, ThoseOfANegative) {
  const auto validated = Validate(With(Good(), Negative("tokens", Int64s({1, 3}, {7, 8, 9})) +
                                                   Negative("style", Values({2, 3}, -1))),
                                  Conditioned());
  ASSERT_TRUE(validated.ok()) << validated.status();
  const Conditions& negative = *validated->request.negative_conditions;
  EXPECT_THAT(RowOf<float>(negative[0], 1), ElementsAre(-1, -1, -1));
  EXPECT_THAT(RowOf<int64_t>(negative[1], 1), ElementsAre(7, 8, 9));
}

TEST_F(ConditionsTest, ModelsWithoutFurtherInputsHaveNone) {
  EXPECT_EQ(Validate(S())->request.conditions, nullptr);
}

TEST_F(ConditionsTest, ThoseOfAModelThatTakesNoneAreRefused) {
  ExpectRefused(S(), {{Given("text", {}), "conditions", {"\"text\"", "it takes none"}},
                      {Given("class_labels", Int64s({1}, {3})),
                       "conditions",
                       {"\"class_labels\"", "it takes none"}}});
}

TEST_F(ConditionsTest, BadOnesAreToldFieldValueAndFix) {
  constexpr int64_t kHuge = int64_t{1} << 62;
  v1::Tensor untyped = Int64s({2, 3}, {1, 2, 3, 4, 5, 6});
  untyped.clear_dtype();
  v1::Tensor infinite;
  SetTensor({2}, std::vector<float>{-kInf, 0}, &infinite);
  std::vector<Bad> cases = {
      {Given("colour", Values({1})),
       "conditions",
       {"\"colour\" is no condition of \"conditioned\"", "\"style\", \"tokens\""}},
      {Given("style", Int64s({1, 3}, {1, 2, 3})),
       "conditions[\"style\"].dtype",
       {"2 is not DATA_TYPE_FLOAT32 (1)"}},
      {Given("tokens", untyped), "conditions[\"tokens\"].dtype", {"0 is not DATA_TYPE_INT64 (2)"}},
      {Given("style", Values({1, 4})),
       "conditions[\"style\"].shape",
       {"[1, 4] is not [1 or 2, 3]"}},
      {Given("style", Values({3})), "conditions[\"style\"].shape", {"[3] is not [1 or 2, 3]"}},
      {Given("size", Values({})), "conditions[\"size\"].shape", {"[] is not [1 or 2]"}},
      {Given("size", Values({3})), "conditions[\"size\"].shape", {"[3] is not [1 or 2]"}},
      {Given("tokens", Int64s({2, 0}, {})),
       "conditions[\"tokens\"].shape",
       {"[2, 0] is not [1 or 2, -1]", "from 1 on"}},
      {Given("tokens", Int64s({2, -1}, {1})), "conditions[\"tokens\"].shape", {"[2, -1]"}},
      {Given("tokens", Int64s({2, kHuge}, {1})),
       "conditions[\"tokens\"].data",
       {"8 bytes", "4611686018427387904"}},
      {Given("mask", Bools({1, 3, 2}, std::string(5, '\1'))),
       "conditions[\"mask\"].data",
       {"5 bytes", "[1, 3, 2] BOOL"}},
      {Given("size", With(Values({2}), "data: '123456789012'")),
       "conditions[\"size\"].data",
       {"12 bytes", "[2] FLOAT32"}},
      {Given("size", Values({2}, kNan)), "conditions[\"size\"].data", {"nan (value 0)", "finite"}},
      {Given("size", infinite), "conditions[\"size\"].data", {"-inf (value 0)"}},
      {Given("mask", Bools({1, 3, 2}, "\1\1\1\1\2\1")),
       "conditions[\"mask\"].data",
       {"2 (value 4)", "0 or 1"}},
      {Given("mask", Bools({1, 3, 2}, "\xFF\1\1\1\1\1")),
       "conditions[\"mask\"].data",
       {"255 (value 0)"}},
      {Negative("colour", Values({1})), "negative_conditions", {"\"colour\" is no condition"}},
      {Negative("size", Int64s({1}, {3})),
       "negative_conditions[\"size\"].dtype",
       {"2 is not DATA_TYPE_FLOAT32"}},
      {Negative("size", Values({1}, kNan)),
       "negative_conditions[\"size\"].data",
       {"nan (value 0)"}},
      {Negative("tokens", Int64s({1, 2}, {7, 8})),
       "negative_conditions[\"tokens\"].shape",
       {"[1, 2]", "[3]", "same shape"}},
      {"guidance_scale: 1 " + Negative("tokens", Int64s({1, 3}, {7, 8, 9})),
       "negative_conditions",
       {"\"tokens\"", "set guidance_scale"}},
  };
  for (Bad& bad : cases) bad.model = Conditioned();
  ExpectRefused(Good(), cases);

  S message = Good();
  message.mutable_conditions()->erase("size");
  ExpectRefused(message, {{"",
                           "conditions",
                           {"\"size\" is left out", "no null value", "[1 or 2] FLOAT32"},
                           Conditioned()}});
  message = Good();
  message.mutable_conditions()->erase("tokens");
  ExpectRefused(message, {{"",
                           "conditions",
                           {"\"tokens\" is left out", "extents", "[1 or 2, -1] INT64"},
                           Conditioned()}});
}

TEST_F(ConditionsTest, MoreThanAMessageInAllIsRefused) {
  // 48, 6 and 8 bytes; answers are of 1072.
  limits_.max_message_bytes = 1100;
  EXPECT_TRUE(Validate(Good(), Conditioned()).ok());
  const S large = With(Good(), Given("tokens", Int64s({1, 150}, std::vector<int64_t>(150))) +
                                   Given("mask", Bools({1, 1, 2}, std::string(2, '\0'))));
  const auto refused = Validate(large, Conditioned());
  EXPECT_EQ(FieldOf(refused.status()), "conditions");
  EXPECT_THAT(std::string(refused.status().message()), testing::HasSubstr("1210 bytes"));
}

}  // namespace
}  // namespace denoise
