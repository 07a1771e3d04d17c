#include "server/rpc/messages/message_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "denoise/v1/diffusion.pb.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/byte_buffer.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMaxMessage = 4 << 20;

std::string Request(const std::string& model, size_t data_bytes = 0) {
  v1::DiffuseRequest request;
  request.set_model(model);
  if (data_bytes > 0) request.mutable_x_0()->set_data(std::string(data_bytes, 'x'));
  return request.SerializeAsString();
}

// In pieces, as gRPC has them.
grpc::ByteBuffer InPieces(const std::string& bytes, size_t piece = 1000) {
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < bytes.size(); i += piece) slices.emplace_back(bytes.substr(i, piece));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

class MessageReaderTest : public testing::Test {
 protected:
  // Notes what comes of them under `name`.
  MessageReader::Then Note(const std::string& name) {
    return [this, name](absl::StatusOr<const google::protobuf::Message*> message) {
      if (message.ok()) {
        const auto& request = static_cast<const v1::DiffuseRequest&>(**message);
        EXPECT_EQ(request.model(), name);
        EXPECT_EQ(request.x_0().data(), std::string(request.x_0().data().size(), 'x'));
      }
      statuses_.push_back(message.status());
      order_.push_back(name);
    };
  }
  absl::Status Read(const std::string& bytes, const std::string& name) {
    grpc::ByteBuffer buffer = InPieces(bytes);
    reader_.Read(&buffer, v1::DiffuseRequest::default_instance(), Note(name));
    EXPECT_EQ(buffer.Length(), 0u);
    return statuses_.back();
  }

  MemoryBudget memory_{8 << 20};
  MessageReader reader_{kMaxMessage, &memory_};
  std::vector<absl::Status> statuses_;
  std::vector<std::string> order_;
};

TEST_F(MessageReaderTest, ReadsWhatIsInPieces) {
  EXPECT_TRUE(Read(Request("digits"), "digits").ok());
  EXPECT_TRUE(Read(Request("digits", 3 << 20), "digits").ok());
  EXPECT_TRUE(Read("", "").ok());
  EXPECT_EQ(memory_.used(MemoryBudget::kMessages), 0u);
}

TEST_F(MessageReaderTest, WhatIsTooLargeIsNotWorthRetrying) {
  const absl::Status status = Read(Request("digits", kMaxMessage), "digits");
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(ReasonOf(status), kMessageTooLarge);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4194304 of a message"));
  EXPECT_THAT(ToGrpc(status).error_details(), testing::Not(HasSubstr("RetryInfo")));
}

TEST_F(MessageReaderTest, WhatIsNoMessageIsRefused) {
  for (const std::string bytes : {"\x0a\x7f", "\x0a\x02\xff\xfe"}) {  // cut off; no UTF-8
    const absl::Status status = Read(bytes, "");
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_EQ(ReasonOf(status), kMessageRefused);
    EXPECT_TRUE(FieldOf(status).has_value());
  }
}

TEST_F(MessageReaderTest, LargeOnesWaitForEachOtherAndSmallOnesDoNot) {
  grpc::ByteBuffer first = InPieces(Request("first", 3 << 20));
  grpc::ByteBuffer second = InPieces(Request("second", 2 << 20));
  grpc::ByteBuffer third = InPieces(Request("third", 1 << 20));
  grpc::ByteBuffer small = InPieces(Request("small"));
  const v1::DiffuseRequest& type = v1::DiffuseRequest::default_instance();
  reader_.Read(&first, type, [&](absl::StatusOr<const google::protobuf::Message*> message) {
    EXPECT_GE(memory_.used(MemoryBudget::kMessages), uint64_t{3} << 20);
    reader_.Read(&second, type, Note("second"));
    reader_.Read(&third, type, Note("third"));  // there is room for it, and it is not its turn
    reader_.Read(&small, type, Note("small"));
    EXPECT_GE(reader_.held_bytes(), uint64_t{6} << 20);
    order_.push_back("first");
  });
  EXPECT_THAT(order_, ElementsAre("small", "first", "second", "third"));
  EXPECT_EQ(reader_.held_bytes(), 0u);
  EXPECT_EQ(memory_.used(MemoryBudget::kMessages), 0u);
}

TEST_F(MessageReaderTest, WhereRequestsHoldAllMemoryLargeOnesAreRefused) {
  const auto held = memory_.Reserve(MemoryBudget::kRequests, 8 << 20);
  const absl::Status status = Read(Request("digits", 1 << 20), "digits");
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_EQ(ReasonOf(status), kMemoryFull);
  EXPECT_TRUE(Read(Request("digits"), "digits").ok());
}

}  // namespace
}  // namespace denoise
