#include "server/rpc/messages/tensor_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

const SamplesSpec kSpec = {{1, 1, 2}, std::nullopt, 4, -1, 1};

v1::Tensor Make(const std::vector<int64_t>& shape, const std::vector<float>& values) {
  v1::Tensor tensor;
  SetTensor(shape, values, &tensor);
  return tensor;
}

TEST(TensorProtoTest, IsLittleEndian) {
  const v1::Tensor tensor = Make({1, 1, 1, 2}, {1, -0.5});
  EXPECT_EQ(tensor.data(), std::string("\0\0\x80\x3f\0\0\0\xbf", 8));
  EXPECT_EQ(tensor.dtype(), v1::DATA_TYPE_FLOAT32);
  EXPECT_THAT(tensor.shape(), testing::ElementsAre(1, 1, 1, 2));
}

TEST(TensorProtoTest, ComesBackAsItWas) {
  const std::vector<float> values = {0.25f, -1, 1, 1e-30f, -0.0f, 0.1f};
  const v1::Tensor tensor = Make({3, 1, 1, 2}, values);
  const auto n = CheckSamples(tensor, kSpec, "x_0");
  ASSERT_TRUE(n.ok()) << n.status();
  EXPECT_EQ(*n, 3u);
  EXPECT_EQ(FloatsOf(tensor), values);
}

struct Bad {
  const char* name;
  v1::Tensor tensor;
  const char* field;
  const char* says;
};

TEST(TensorProtoTest, BadTensorsAreToldWhatIsWrong) {
  v1::Tensor no_type = Make({1, 1, 1, 2}, {0, 0});
  no_type.set_dtype(v1::DATA_TYPE_UNSPECIFIED);
  v1::Tensor unknown_type = no_type;
  unknown_type.set_dtype(static_cast<v1::DataType>(42));
  v1::Tensor integers = no_type;
  integers.set_dtype(v1::DATA_TYPE_INT64);
  v1::Tensor cut = Make({1, 1, 1, 2}, {0, 0});
  cut.mutable_data()->pop_back();
  constexpr int64_t kHuge = int64_t{1} << 62;
  const Bad cases[] = {
      {"dtype missing", no_type, "x_0.dtype", "0"},
      {"dtype unknown", unknown_type, "x_0.dtype", "42"},
      {"int64", integers, "x_0.dtype", "FLOAT32"},
      {"rank", Make({1, 2}, {0, 0}), "x_0.shape", "[1, 2]"},
      {"no shape", Make({}, {0, 0}), "x_0.shape", "[]"},
      {"zero", Make({0, 1, 1, 2}, {}), "x_0.shape", "[0, 1, 1, 2]"},
      {"negative", Make({-1, 1, 1, 2}, {0, 0}), "x_0.shape", "[-1, 1, 1, 2]"},
      {"overflow", Make({kHuge, 1, 1, 2}, {0, 0}), "x_0.shape", "4611686018427387904"},
      {"2^32 + 1 samples", Make({(int64_t{1} << 32) + 1, 1, 1, 2}, {0, 0}), "x_0.shape",
       "4294967297"},
      {"2^64 times as many", Make({int64_t{1} << 33, int64_t{1} << 31, 1, 2}, {0, 0}), "x_0.shape",
       "8589934592"},
      {"other extents", Make({1, 1, 2, 1}, {0, 0}), "x_0.shape", "[n, 1, 1, 2]"},
      {"too many", Make({5, 1, 1, 2}, std::vector<float>(10)), "x_0.shape", "4 samples"},
      {"rank of 1000", Make(std::vector<int64_t>(1000, 1), {0}), "x_0.shape", "…"},
      {"a byte too few", cut, "x_0.data", "7 bytes"},
      {"no bytes", Make({1, 1, 1, 2}, {}), "x_0.data", "0 bytes"},
      {"too many values", Make({1, 1, 1, 2}, {0, 0, 0}), "x_0.data", "12 bytes"},
      {"nan", Make({1, 1, 1, 2}, {0, kNan}), "x_0.data", "nan (value 1)"},
      {"inf", Make({1, 1, 1, 2}, {kInf, 0}), "x_0.data", "inf (value 0)"},
      {"out of range", Make({1, 1, 1, 2}, {0, -1.5f}), "x_0.data", "-1.5 (value 1)"},
  };
  for (const Bad& bad : cases) {
    SCOPED_TRACE(bad.name);
    const auto n = CheckSamples(bad.tensor, kSpec, "x_0");
    ASSERT_FALSE(n.ok());
    EXPECT_EQ(FieldOf(n.status()), bad.field);
    EXPECT_THAT(std::string(n.status().message()), HasSubstr(bad.says));
  }
}

TEST(TensorProtoTest, CountMayBeFixed) {
  SamplesSpec spec = kSpec;
  spec.num_samples = 2;
  EXPECT_TRUE(CheckSamples(Make({2, 1, 1, 2}, {0, 0, 0, 0}), spec, "x").ok());
  const auto one = CheckSamples(Make({1, 1, 1, 2}, {0, 0}), spec, "x");
  ASSERT_FALSE(one.ok());
  EXPECT_THAT(std::string(one.status().message()), HasSubstr("[1, 1, 1, 2] is not [2, 1, 1, 2]"));
}

TEST(TensorProtoTest, OneMayDoForAllSamplesAndChannels) {
  SamplesSpec spec = kSpec;
  spec.shape.channels = 3;
  spec.num_samples = 2;
  const auto with = [](int64_t n, int64_t channels) {
    return Make({n, channels, 1, 2}, std::vector<float>(n * channels * 2));
  };
  const auto check = [&](int64_t n, int64_t channels) {
    return CheckSamples(with(n, channels), spec, "x");
  };
  EXPECT_FALSE(check(1, 3).ok());
  EXPECT_FALSE(check(2, 1).ok());
  spec.or_one_sample = true;
  EXPECT_EQ(*check(1, 3), 1u);
  EXPECT_EQ(*check(2, 3), 2u);
  EXPECT_FALSE(check(1, 1).ok());
  spec.or_one_channel = true;
  EXPECT_EQ(*check(1, 1), 1u);
  EXPECT_EQ(*check(2, 1), 2u);
  const absl::Status refused = check(3, 2).status();
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("[3, 2, 1, 2] is not [1 or 2, 1 or 3, 1, 2]"));
}

}  // namespace
}  // namespace denoise
