#include "client/cli/pictures/npy.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/cli/cli_fixture.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string WithHeader(const std::string& header, const std::string& values) {
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header +
         values;
}

TEST(NpyTest, GoesThereAndBack) {
  const Tensor tensor{{2, 1, 3}, {1, -2, 3.5f, 0, 1e-30f, -1e30f}};
  const std::string bytes = EncodeNpy(tensor);
  EXPECT_EQ((bytes.size() - 6 * 4) % 64, 0u) << "values are aligned";
  EXPECT_THAT(bytes, HasSubstr("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, 3), }"));
  const auto decoded = DecodeNpy(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->shape, tensor.shape);
  EXPECT_EQ(decoded->values, tensor.values);
}

TEST(NpyTest, AVector) {
  const std::string bytes = EncodeNpy({{2}, {1, 2}});
  EXPECT_THAT(bytes, HasSubstr("'shape': (2,), }"));
  EXPECT_THAT(DecodeNpy(bytes)->shape, ElementsAre(2));
}

// numpy.array([[0.5, -1]]) as NumPy saves it.
TEST(NpyTest, Float64OfNumpy) {
  const std::string header =
      "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }                                "
      "                        \n";
  const auto decoded =
      DecodeNpy(WithHeader(header, std::string("\0\0\0\0\0\0\xe0\x3f\0\0\0\0\0\0\xf0\xbf", 16)));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_THAT(decoded->shape, ElementsAre(1, 2));
  EXPECT_THAT(decoded->values, ElementsAre(0.5f, -1.0f));
}

TEST(NpyTest, ArraysKeepTheirTypes) {
  const auto floats = DecodeNpyArray(EncodeNpy({{2}, {0.5f, -1}}));
  ASSERT_TRUE(floats.ok()) << floats.status();
  EXPECT_THAT(floats->shape, ElementsAre(2));
  EXPECT_THAT(std::get<std::vector<float>>(floats->values), ElementsAre(0.5f, -1));

  const std::string negative(8, '\xff');
  const auto integers =
      DecodeNpyArray(NpyFile("<i8", "(1, 2)", std::string("\2\1\0\0\0\0\0\0", 8) + negative));
  ASSERT_TRUE(integers.ok()) << integers.status();
  EXPECT_THAT(integers->shape, ElementsAre(1, 2));
  EXPECT_THAT(std::get<std::vector<int64_t>>(integers->values), ElementsAre(258, -1));

  const auto bools = DecodeNpyArray(NpyFile("|b1", "(3,)", std::string("\1\0\1", 3)));
  ASSERT_TRUE(bools.ok()) << bools.status();
  EXPECT_THAT(bools->shape, ElementsAre(3));
  EXPECT_THAT(std::get<std::vector<bool>>(bools->values), ElementsAre(true, false, true));
}

TEST(NpyTest, WhatNoArrayHolds) {
  for (const std::string& bytes :
       {NpyFile("<i4", "(1,)", "1234"), NpyFile(">i8", "(1,)", "12345678"),
        NpyFile("<f2", "(1,)", "12"), NpyFile("|b1", "(3,)", "12"), NpyFile("<i8", "(2,)", "1"),
        NpyFile("<U1", "(1,)", "1234"), NpyFile("|O", "(1,)", "12345678")}) {
    const auto status = DecodeNpyArray(bytes).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bytes;
    EXPECT_THAT(std::string(status.message()), HasSubstr("numpy.save"));
  }
  EXPECT_THAT(std::string(DecodeNpyArray(NpyFile("<i4", "(1,)", "1234")).status().message()),
              HasSubstr("'<i4', not float32, int64 or bool"));
  EXPECT_THAT(std::string(DecodeNpy(NpyFile("<i8", "(1,)", "12345678")).status().message()),
              HasSubstr("int64, not float32"));
}

TEST(NpyTest, WhatCannotBeReadIsRefusedWithTheMend) {
  const auto header = [](const char* descr, const char* order, const char* shape) {
    return std::string("{'descr': '") + descr + "', 'fortran_order': " + order +
           ", 'shape': " + shape + ", }\n";
  };
  const std::string good = EncodeNpy({{2, 2}, {1, 2, 3, 4}});
  const std::string eight(8, '\0');
  for (const std::string& bytes : {
           std::string(),
           std::string("\x93NUMPY"),
           std::string("hello, this is no array"),
           good.substr(0, 11),
           good.substr(0, 40),
           good.substr(0, good.size() - 1),
           good + "x",
           WithHeader(header("<i8", "False", "(1,)"), eight),
           WithHeader(header("<f4", "True", "(1, 2)"), eight),
           WithHeader(header("<f4", "False", "(-1, -2)"), eight),
           WithHeader(header("<f4", "False", "(0, 2)"), eight),
           WithHeader(header("<f4", "False", "(4611686018427387904, 4)"), eight),
           WithHeader(header("<f4", "False", "(99999999999999999999, 1)"), eight),
           WithHeader(header("<f4", "False", "2"), eight),
           WithHeader("nonsense", eight),
       }) {
    const auto status = DecodeNpy(bytes).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bytes;
    EXPECT_THAT(std::string(status.message()), HasSubstr("numpy.save"));
  }
}

}  // namespace
}  // namespace denoise::cli
