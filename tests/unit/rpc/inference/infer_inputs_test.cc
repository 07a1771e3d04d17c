// Tensors of requests: their bytes wherever they are, and what is wrong with them.
#include "server/rpc/inference/infer_inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "server/diffusion/field_error.h"
#include "tests/unit/rpc/inference/infer_message.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;
using Message = inference::ModelInferRequest;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

class InferInputsTest : public testing::Test {
 protected:
  absl::StatusOr<std::vector<InferTensor>> Read(const Message& message) const {
    return ReadInputs(message, specs_, shared_memory_, /*max_bytes=*/1 << 20);
  }
  InferTensor ReadOne(const Message& message) const {
    const auto tensors = Read(message);
    EXPECT_TRUE(tensors.ok()) << tensors.status();
    return tensors.ok() && tensors->size() == 1 ? (*tensors)[0] : InferTensor();
  }
  void ExpectRefused(const Message& message, const char* field, const char* says) const {
    const auto tensors = Read(message);
    ASSERT_FALSE(tensors.ok());
    EXPECT_EQ(FieldOf(tensors.status()), field);
    EXPECT_THAT(std::string(tensors.status().message()), HasSubstr(says));
  }

  const std::vector<TensorSpec> specs_ = {{"x", InferType::kFp32, {-1, 2}},
                                          {"names", InferType::kBytes, {-1}},
                                          {"n", InferType::kInt64, {-1}}};
  const SharedMemory shared_memory_;  // off
};

TEST_F(InferInputsTest, ReadsRawBytesInTheirOrder) {
  Message message;
  AddFloats("x", {1, 2}, {1, 2}, &message);
  AddRaw("n", "INT32", {2}, BytesOf(std::vector<int32_t>{-3, 4}), &message);
  const auto tensors = Read(message);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 2u);
  EXPECT_EQ((*tensors)[0].data, BytesOf(std::vector<float>{1, 2}));
  EXPECT_THAT((*tensors)[0].shape, ElementsAre(1, 2));
  EXPECT_THAT(*Integers((*tensors)[1]), ElementsAre(-3, 4));
}

TEST_F(InferInputsTest, ReadsContentsOfEveryType) {
  const auto read = [this](const char* type, int elements,
                           const std::function<void(inference::InferTensorContents*)>& fill) {
    Message message;
    fill(AddInput("x", type, {elements}, &message)->mutable_contents());
    return ReadOne(message);
  };
  EXPECT_EQ(
      read("BOOL", 2, [](auto* c) { c->add_bool_contents(true), c->add_bool_contents(false); })
          .data,
      std::string("\x01\x00", 2));
  EXPECT_THAT(*Integers(read("INT32", 1, [](auto* c) { c->add_int_contents(-7); })),
              ElementsAre(-7));
  EXPECT_THAT(*Integers(read("UINT32", 1, [](auto* c) { c->add_uint_contents(7); })),
              ElementsAre(7));
  EXPECT_THAT(*Integers(read("INT64", 1, [](auto* c) { c->add_int64_contents(kMax); })),
              ElementsAre(kMax));
  EXPECT_THAT(*Integers(read("UINT64", 1, [](auto* c) { c->add_uint64_contents(9); })),
              ElementsAre(9));
  EXPECT_THAT(
      *Floats(read("FP32", 2, [](auto* c) { c->add_fp32_contents(0.5), c->add_fp32_contents(2); })),
      ElementsAre(0.5, 2));
  EXPECT_EQ(*Text(read("BYTES", 1, [](auto* c) { c->add_bytes_contents("ddim"); })), "ddim");
}

TEST_F(InferInputsTest, RefusesWhatShapesDoNotMake) {
  const struct {
    const char* name;
    std::vector<int64_t> shape;
    size_t bytes;
    const char* field;
    const char* says;
  } cases[] = {
      {"too few bytes", {2, 2}, 15, "inputs[\"x\"]", "15 bytes are not those of [2, 2] FP32"},
      {"too many", {2, 2}, 20, "inputs[\"x\"]", "20 bytes"},
      {"none", {2, 2}, 0, "inputs[\"x\"]", "0 bytes"},
      {"negative", {-1, 2}, 8, "inputs[\"x\"].shape", "has an extent of -1"},
      {"zero", {0, 2}, 0, "inputs[\"x\"].shape", "has an extent of 0"},
      {"the product is 2^64, and 0 modulo it", {kMax / 2 + 1, 4}, 0, "inputs[\"x\"]", "0 bytes"},
      {"the product overflows to 4", {kMax, kMax, 4}, 16, "inputs[\"x\"]", "16 bytes"},
      {"huge", {kMax}, 8, "inputs[\"x\"]", "8 bytes"},
  };
  for (const auto& bad : cases) {
    SCOPED_TRACE(bad.name);
    Message message;
    AddRaw("x", "FP32", bad.shape, std::string(bad.bytes, '\0'), &message);
    ExpectRefused(message, bad.field, bad.says);
  }
}

TEST_F(InferInputsTest, RefusesWhatIsNotKnown) {
  Message unknown;
  AddFloats("y", {1}, {1}, &unknown);
  ExpectRefused(unknown, "inputs[\"y\"]", "takes \"x\", \"names\", \"n\"");

  Message twice;
  AddFloats("x", {1}, {1}, &twice);
  AddFloats("x", {1}, {1}, &twice);
  ExpectRefused(twice, "inputs[\"x\"]", "twice");

  Message type;
  AddRaw("x", "FP16", {1}, "12", &type);
  ExpectRefused(type, "inputs[\"x\"].datatype", "\"FP16\" is not BOOL");

  Message parameter;
  AddFloats("x", {1}, {1}, &parameter);
  (*parameter.mutable_inputs(0)->mutable_parameters())["binary_data_size"].set_int64_param(4);
  ExpectRefused(parameter, "inputs[\"x\"].parameters[\"binary_data_size\"]", "is not known here");

  Message many;
  for (int i = 0; i < 4; ++i) AddFloats("x", {1}, {1}, &many);
  ExpectRefused(many, "inputs", "4 are more than the 3");
}

TEST_F(InferInputsTest, RefusesBytesFromTwoPlacesOrNone) {
  Message both;
  AddFloats("x", {1}, {1}, &both);
  both.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  ExpectRefused(both, "inputs[\"x\"]", "contents and raw_input_contents");

  Message missing;
  AddFloats("x", {1}, {1}, &missing);
  AddInput("n", "INT64", {1}, &missing);
  ExpectRefused(missing, "raw_input_contents", "1 are not one for each");

  Message surplus;
  AddFloats("x", {1}, {1}, &surplus);
  surplus.add_raw_input_contents("more");
  ExpectRefused(surplus, "raw_input_contents", "2 are not one for each");

  Message other_type;
  AddInput("x", "FP32", {1}, &other_type)->mutable_contents()->add_fp64_contents(1);
  ExpectRefused(other_type, "inputs[\"x\"].contents", "another type than FP32");

  Message shared;
  auto& parameters = *AddInput("x", "FP32", {1}, &shared)->mutable_parameters();
  parameters["shared_memory_region"].set_string_param("in");
  ExpectRefused(shared, "inputs[\"x\"].parameters[\"shared_memory_byte_size\"]", "missing");
  parameters["shared_memory_byte_size"].set_int64_param(-1);
  ExpectRefused(shared, "inputs[\"x\"].parameters[\"shared_memory_byte_size\"]", "-1 is negative");
  parameters["shared_memory_byte_size"].set_int64_param(kMax);
  ExpectRefused(shared, "inputs[\"x\"]", "more than a request may have");
  parameters["shared_memory_byte_size"].set_int64_param(4);
  EXPECT_EQ(Read(shared).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(InferInputsTest, RefusesStringsWhoseLengthsDoNotFit) {
  for (const std::string& bytes :
       {std::string("\x05\x00\x00\x00four", 8), std::string("\x01\x00", 2),
        std::string("\xFF\xFF\xFF\xFF", 4)}) {
    Message message;
    AddRaw("names", "BYTES", {1}, bytes, &message);
    ExpectRefused(message, "inputs[\"names\"]", "no elements of BYTES");
  }
  Message message;
  AddRaw("names", "BYTES", {3}, Element("a") + Element(""), &message);
  ExpectRefused(message, "inputs[\"names\"]", "2 elements are not those of [3]");
}

TEST_F(InferInputsTest, ElementsMustFitWhatIsWanted) {
  const auto tensor = [](const char* type, std::vector<int64_t> shape, const std::string& bytes) {
    return InferTensor{"n", *InferTypeOf(type), std::move(shape), bytes};
  };
  EXPECT_EQ(*Unsigned(tensor("UINT64", {1}, std::string(8, '\xFF')),
                      std::numeric_limits<uint64_t>::max()),
            std::numeric_limits<uint64_t>::max());
  EXPECT_THAT(FieldOf(Integers(tensor("UINT64", {1}, std::string(8, '\xFF'))).status()),
              Optional(std::string("inputs[\"n\"]")));
  EXPECT_THAT(
      std::string(Unsigned(tensor("INT32", {1}, std::string(4, '\xFF')), 9).status().message()),
      HasSubstr("-1 is not in 0..9"));
  EXPECT_THAT(
      std::string(
          Unsigned(tensor("UINT32", {1}, std::string("\x0A\0\0\0", 4)), 9).status().message()),
      HasSubstr("10 is not in 0..9"));
  EXPECT_THAT(FieldOf(Unsigned(tensor("INT64", {2}, std::string(16, '\0')), 9).status()),
              Optional(std::string("inputs[\"n\"].shape")));
  EXPECT_THAT(FieldOf(Float(tensor("INT64", {1}, std::string(8, '\0'))).status()),
              Optional(std::string("inputs[\"n\"].datatype")));
  EXPECT_THAT(FieldOf(Text(tensor("INT64", {1}, std::string(8, '\0'))).status()),
              Optional(std::string("inputs[\"n\"].datatype")));
  EXPECT_THAT(FieldOf(Integers(tensor("FP32", {1}, std::string(4, '\0'))).status()),
              Optional(std::string("inputs[\"n\"].datatype")));
  EXPECT_THAT(FieldOf(Floats(tensor("FP32", {1, 1}, std::string(4, '\0'))).status()),
              Optional(std::string("inputs[\"n\"].shape")));
  EXPECT_THAT(
      FieldOf(ToTensor(tensor("INT32", {1}, std::string(4, '\0')), InferType::kInt64).status()),
      Optional(std::string("inputs[\"n\"].datatype")));
}

}  // namespace
}  // namespace denoise
