// What the tests of the request validator share: messages with one invalid field, and how
// they are refused.
#ifndef DENOISE_TESTS_UNIT_RPC_VALIDATOR_FIXTURE_H_
#define DENOISE_TESTS_UNIT_RPC_VALIDATOR_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "server/diffusion/field_error.h"
#include "server/rpc/messages/request_validator.h"
#include "server/rpc/messages/tensor_proto.h"
#include "tests/unit/rpc/test_model.h"

namespace denoise {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr uint32_t kMaxUint32 = std::numeric_limits<uint32_t>::max();

// FLOAT32, all of one value.
inline v1::Tensor Values(const std::vector<int64_t>& shape, float value = 0.5f) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  v1::Tensor tensor;
  SetTensor(shape, std::vector<float>(count, value), &tensor);
  return tensor;
}

// A message that is wrong in one thing.
template <typename Message>
struct Bad {
  const char* name;
  std::function<void(Message*)> alter;
  const char* field;
  std::vector<const char*> says;  // the value, and the fix
  ModelInfo model = TestModel();
};

class ValidatorTest : public testing::Test {
 protected:
  template <typename Message>
  absl::StatusOr<Validated> Validate(const Message& message, ModelInfo model = TestModel()) {
    return RequestValidator(limits_, &tables_).Validate(message, Shared(std::move(model)));
  }

  // `good`, once altered, is refused with field, value and fix.
  template <typename Message>
  void ExpectRefused(const Message& good, const std::vector<Bad<Message>>& cases) {
    for (const Bad<Message>& bad : cases) {
      SCOPED_TRACE(bad.name);
      Message message = good;
      bad.alter(&message);
      const auto validated = Validate(message, bad.model);
      ASSERT_FALSE(validated.ok());
      EXPECT_EQ(validated.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(FieldOf(validated.status()), bad.field);
      for (const char* says : bad.says) {
        EXPECT_THAT(std::string(validated.status().message()), testing::HasSubstr(says));
      }
    }
  }

  Limits limits_;
  TableCache tables_;
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_RPC_VALIDATOR_FIXTURE_H_
