#include "server/rpc/messages/wire_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "denoise/v1/diffusion.pb.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "inference/grpc_service.pb.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

// In pieces of `piece` bytes; 0: in one.
template <typename Message>
absl::StatusOr<uint64_t> Check(const std::string& bytes, const WireLimits& limits = {},
                               int piece = 0) {
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()),
                                                piece == 0 ? -1 : piece);
  return CheckWire(*Message::descriptor(), &stream, bytes.size(), limits);
}

std::string Varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string Delimited(int field, const std::string& content) {
  return Varint(field << 3 | 2) + Varint(content.size()) + content;
}

std::string Repeat(size_t count, const std::string& bytes) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += bytes;
  return all;
}

void ExpectRefused(const absl::StatusOr<uint64_t>& checked, const std::string& field,
                   const std::string& says) {
  ASSERT_FALSE(checked.ok()) << *checked;
  EXPECT_EQ(FieldOf(checked.status()), field) << checked.status();
  EXPECT_THAT(std::string(checked.status().message()), HasSubstr(says));
}

TEST(WireCheckTest, ATensorCostsItsBytes) {
  v1::SampleRequest message;
  message.mutable_initial_noise()->set_data(std::string(kMiB, 'x'));
  const auto bytes = Check<v1::SampleRequest>(message.SerializeAsString());
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GE(*bytes, kMiB);
  EXPECT_LT(*bytes, kMiB + 2048);
}

TEST(WireCheckTest, APackedNumberCostsItsSizeInMemory) {
  const std::string labels = Delimited(6, std::string(kMiB, '\x01'));
  EXPECT_GE(*Check<v1::SampleRequest>(labels), 8 * kMiB);
  for (const int piece : {0, 1, 1000}) {
    ExpectRefused(Check<v1::SampleRequest>(labels, {.max_bytes = 8 * kMiB - 1}, piece),
                  "class_labels", "send less at once");
  }
  // Seven bytes each.
  const std::string large = Delimited(6, Repeat(1000, Varint(uint64_t{1} << 45)));
  EXPECT_LT(*Check<v1::SampleRequest>(large), 8 * 1000 + 2048u);
  // Of fixed size, and of sizes of their own.
  const std::string floats = Delimited(10, std::string(4000, 'x'));
  EXPECT_LT(*Check<v1::SampleRequest>(Delimited(5, floats)), 4000 + 2048u);
}

TEST(WireCheckTest, EmptyPartsCostWhatIsMadeOfThem) {
  const std::string inputs = Repeat(100'000, Delimited(5, ""));
  const auto bytes = Check<inference::ModelInferRequest>(inputs);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GE(*bytes, 100'000 * sizeof(inference::ModelInferRequest::InferInputTensor));
  ExpectRefused(Check<inference::ModelInferRequest>(inputs, {.max_bytes = 4 * kMiB}), "inputs",
                "send less at once");
  ExpectRefused(Check<inference::ModelInferRequest>(inputs, {.max_fields = 99'999}), "message",
                "more than 99999 fields");
  // Empty strings in the one part there is.
  const std::string strings = Delimited(5, Delimited(5, Repeat(100'000, Delimited(8, ""))));
  ExpectRefused(Check<inference::ModelInferRequest>(strings, {.max_bytes = 4 * kMiB}),
                "inputs.contents.bytes_contents", "send less at once");
  const std::string entries = Repeat(100'000, Delimited(4, ""));
  ExpectRefused(Check<inference::ModelInferRequest>(entries, {.max_bytes = 4 * kMiB}), "parameters",
                "send less at once");
}

TEST(WireCheckTest, FieldsThatNobodyKnowsCostToo) {
  ExpectRefused(
      Check<v1::GetModelRequest>(Repeat(100'000, Varint(77 << 3) + "\x01"), {.max_bytes = kMiB}),
      "message", "send less at once");
  EXPECT_GE(*Check<v1::GetModelRequest>(Delimited(77, std::string(kMiB, 'x'))), kMiB);
  // A field of another wire type is kept as one that is not known.
  EXPECT_GE(*Check<v1::SampleRequest>(Delimited(3, std::string(kMiB, 'x'))), kMiB);
}

TEST(WireCheckTest, MessagesInMessagesAreCounted) {
  std::string nested;
  for (int i = 0; i < 17; ++i) nested = Delimited(3, nested);  // DescriptorProto.nested_type
  const auto checked = Check<google::protobuf::DescriptorProto>(nested);
  EXPECT_THAT(std::string(checked.status().message()), HasSubstr("is too deep"));
  EXPECT_TRUE(Check<google::protobuf::DescriptorProto>(nested, {.max_depth = 17}).ok());
}

TEST(WireCheckTest, LengthsThatAreNotThere) {
  ExpectRefused(Check<v1::SampleRequest>("\x0a\xff\xff\xff\xff\x07"), "model", "are announced");
  ExpectRefused(Check<v1::SampleRequest>("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "model",
                "cut off");
  // Longer than the part that it is in, though not than the message.
  const std::string inner = std::string("\x1a") + Varint(10) + "123";  // Tensor.data
  ExpectRefused(Check<v1::DiffuseRequest>(Delimited(3, inner) + Delimited(1, "a long name")),
                "x_0.data", "10 bytes are announced, and 3 are there");
  v1::SampleRequest message;
  message.mutable_initial_noise()->set_data("12345678");
  message.mutable_sampler()->add_timesteps(1);
  message.set_seed(uint64_t{1} << 60);
  const std::string whole = message.SerializeAsString();
  for (size_t size = 0; size < whole.size(); ++size) {
    v1::SampleRequest part;
    EXPECT_EQ(Check<v1::SampleRequest>(whole.substr(0, size)).ok(),
              part.ParseFromString(whole.substr(0, size)))
        << size;
  }
}

TEST(WireCheckTest, WhatIsNoField) {
  for (const std::string& bytes : {std::string("\x0b"), std::string("\x0c"), std::string("\x0f"),
                                   std::string("\x02\x00", 2), std::string("\x00\x00\x00", 3)}) {
    const auto checked = Check<v1::SampleRequest>(bytes);
    EXPECT_THAT(std::string(checked.status().message()), HasSubstr("is no message"));
  }
}

// Whatever is changed in a message: what passes and is parsed takes no more than was said, but for
// room that lists keep, and what is parsed has passed.
TEST(WireCheckTest, SaysAtLeastWhatParsingTakes) {
  v1::SampleRequest message;
  message.set_model("digits");
  message.mutable_sampler()->set_steps(20);
  for (int i = 0; i < 20; ++i) message.mutable_sampler()->add_timesteps(i);
  for (int i = 0; i < 9; ++i) message.add_class_labels(i);
  for (const char* name : {"text", "size"}) {
    v1::Tensor& tensor = (*message.mutable_conditions())[name];
    tensor.add_shape(1);
    tensor.set_data(std::string(40, 'x'));
  }
  const std::string whole = message.SerializeAsString();
  std::mt19937 random(1);
  int parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = whole;
    for (int change = random() % 4; change >= 0; --change) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    v1::SampleRequest other;
    const auto checked = Check<v1::SampleRequest>(bytes);
    if (!other.ParseFromString(bytes)) continue;
    ++parsed;
    ASSERT_TRUE(checked.ok()) << checked.status();
    EXPECT_LE(other.SpaceUsedLong(), 2 * *checked);
  }
  EXPECT_GT(parsed, 1000);
}

}  // namespace
}  // namespace denoise
