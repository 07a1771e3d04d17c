// What the tests of the request validator share: bad messages, and how they are refused.
#ifndef DENOISE_TESTS_UNIT_RPC_VALIDATOR_FIXTURE_H_
#define DENOISE_TESTS_UNIT_RPC_VALIDATOR_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/request_validator.h"
#include "server/rpc/messages/tensor_proto.h"
#include "tests/unit/rpc/test_model.h"
#include "tests/unit/text_proto.h"

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

// `FIELD { … }` in text format; `field` of a map: with its key.
inline std::string Text(const std::string& field, const v1::Tensor& tensor) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(tensor, &text);
  return absl::StrCat(" ", field, " { ", text, "} ");
}
inline std::string Text(const std::string& map, const std::string& key, const v1::Tensor& tensor) {
  return absl::StrCat(" ", map, " { key: \"", key, "\" ", Text("value", tensor), "} ");
}

// `text` that many times.
inline std::string Times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; ++i) absl::StrAppend(&all, text, " ");
  return all;
}

struct Bad {
  std::string fields;  // in text format: merged into a good message, they make it a bad one
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

  // A good message with the fields of any of the cases is refused, with field, value and fix.
  template <typename Message>
  void ExpectRefused(const Message& good, const std::vector<Bad>& cases) {
    for (const Bad& bad : cases) {
      SCOPED_TRACE(bad.fields);
      const absl::Status status = Validate(With(good, bad.fields), bad.model).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(FieldOf(status), bad.field);
      for (const char* says : bad.says) {
        EXPECT_THAT(std::string(status.message()), testing::HasSubstr(says));
      }
    }
  }

  Limits limits_;
  TableCache tables_;
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_RPC_VALIDATOR_FIXTURE_H_
