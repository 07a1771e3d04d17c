#include "server/rpc/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"
#include "tests/unit/rpc/details.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ToGrpcTest, OkHasNoDetails) {
  const grpc::Status status = ToGrpc(absl::OkStatus());
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.error_details(), "");
}

TEST(ToGrpcTest, FieldErrorNamesItsField) {
  const grpc::Status status = ToGrpc(FieldError("sampler.steps", "0 is not in 1..100"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "sampler.steps: 0 is not in 1..100");
  const Details details = DetailsOf(status);
  EXPECT_EQ(details.status.code(), 3);
  EXPECT_EQ(details.status.message(), status.error_message());
  ASSERT_TRUE(details.bad_request.has_value());
  ASSERT_EQ(details.bad_request->field_violations_size(), 1);
  EXPECT_EQ(details.bad_request->field_violations(0).field(), "sampler.steps");
  EXPECT_EQ(details.bad_request->field_violations(0).description(), "0 is not in 1..100");
  ASSERT_TRUE(details.info.has_value());
  EXPECT_EQ(details.info->domain(), "denoise.v1");
  EXPECT_EQ(details.info->reason(), "INVALID_FIELD");
  EXPECT_FALSE(details.retry.has_value());
}

TEST(ToGrpcTest, RetryDelayIsExact) {
  const grpc::Status status = ToGrpc(
      WithRetryDelay(WithReason(absl::ResourceExhaustedError("the queue is full"), kQueueFull),
                     absl::Milliseconds(1250)));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const Details details = DetailsOf(status);
  EXPECT_EQ(details.info->reason(), "QUEUE_FULL");
  ASSERT_TRUE(details.retry.has_value());
  EXPECT_EQ(details.retry->retry_delay().seconds(), 1);
  EXPECT_EQ(details.retry->retry_delay().nanos(), 250'000'000);
}

TEST(ToGrpcTest, EveryCodeHasAReason) {
  const std::pair<absl::Status, const char*> reasons[] = {
      {absl::InvalidArgumentError("x"), "INVALID_FIELD"},
      {absl::NotFoundError("x"), "MODEL_NOT_FOUND"},
      {absl::ResourceExhaustedError("x"), "OUT_OF_MEMORY"},
      {absl::UnavailableError("x"), "DRAINING"},
      {absl::DeadlineExceededError("x"), "DEADLINE_EXCEEDED"},
      {absl::CancelledError("x"), "CANCELLED"},
      {absl::InternalError("x"), "INTERNAL"},
  };
  for (const auto& [status, reason] : reasons) {
    const Details details = DetailsOf(ToGrpc(status));
    EXPECT_EQ(details.info->reason(), reason) << status;
    const bool retry = absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
    EXPECT_EQ(details.retry.has_value(), retry) << status;
    EXPECT_EQ(details.status.code(), static_cast<int>(status.code()));
  }
}

TEST(ToGrpcTest, MessagesAreOneShortLineOfUtf8) {
  const grpc::Status status =
      ToGrpc(absl::InvalidArgumentError(absl::StrCat("a\nb\x1b[31m\xff", std::string(5000, 'x'))));
  EXPECT_LE(status.error_message().size(), 512u);
  EXPECT_THAT(status.error_message(), testing::StartsWith("a\\nb\\033[31m\\377xxx"));
  // Client's default limit on metadata is 8 KiB.
  EXPECT_LT(status.error_details().size(), 4096u);
}

TEST(ToGrpcTest, InternalErrorsSayNothingOfTheMachine) {
  const grpc::Status status =
      ToGrpc(absl::InternalError("sample_index 1: failed in /usr/src/op.cpp:12 at 0x55d0c0ffee00"));
  EXPECT_THAT(status.error_message(), HasSubstr("sample_index 1"));
  EXPECT_THAT(status.error_message(), Not(HasSubstr("/usr")));
  EXPECT_THAT(status.error_message(), Not(HasSubstr("0x55")));
  EXPECT_THAT(status.error_details(), Not(HasSubstr("/usr")));
}

}  // namespace
}  // namespace denoise
