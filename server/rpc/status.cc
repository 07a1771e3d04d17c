#include "server/rpc/status.h"

#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/text.h"

namespace denoise {
namespace {

constexpr char kReasonPayload[] = "denoise.v1/reason";
constexpr char kRetryPayload[] = "denoise.v1/retry_nanoseconds";
constexpr absl::Duration kDefaultRetryDelay = absl::Seconds(1);
// Status and details travel as metadata, of which clients take 8 KiB by default; the message is in
// there three times, once with every byte that is not ASCII as three.
constexpr size_t kMaxMessageBytes = 512;

bool IsWorthRetrying(const absl::Status& status) {
  if (absl::IsUnavailable(status)) return true;
  return absl::IsResourceExhausted(status) && ReasonOf(status) != kMessageTooLarge;
}

absl::Duration RetryDelayOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryPayload);
  int64_t nanoseconds;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &nanoseconds)) {
    return kDefaultRetryDelay;
  }
  return absl::Nanoseconds(nanoseconds);
}

}  // namespace

absl::Status WithReason(absl::Status status, absl::string_view reason) {
  status.SetPayload(kReasonPayload, absl::Cord(reason));
  return status;
}

absl::Status WithRetryDelay(absl::Status status, absl::Duration delay) {
  status.SetPayload(kRetryPayload, absl::Cord(absl::StrCat(absl::ToInt64Nanoseconds(delay))));
  return status;
}

std::string ReasonOf(const absl::Status& status) {
  if (const auto payload = status.GetPayload(kReasonPayload)) return std::string(*payload);
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return kInvalidField;
    case absl::StatusCode::kNotFound:
      return kModelNotFound;
    case absl::StatusCode::kResourceExhausted:
      return kOutOfMemory;
    case absl::StatusCode::kUnavailable:
      return kDraining;
    default:
      return CodeName(status);
  }
}

std::string CodeName(const absl::Status& status) { return absl::StatusCodeToString(status.code()); }

std::string MessageOf(const absl::Status& status) {
  const bool foreign = absl::IsInternal(status) || absl::IsUnknown(status);
  return OneLine(foreign ? WithoutPaths(status.message()) : std::string(status.message()),
                 kMaxMessageBytes);
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = MessageOf(status);
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);

  google::rpc::ErrorInfo info;
  info.set_domain(kErrorDomain);
  info.set_reason(ReasonOf(status));
  details.add_details()->PackFrom(info);

  if (const std::optional<std::string> field = FieldOf(status)) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(*field);
    violation->set_description(std::string(absl::StripPrefix(message, absl::StrCat(*field, ": "))));
    details.add_details()->PackFrom(bad_request);
  }
  if (IsWorthRetrying(status)) {
    const int64_t nanoseconds = absl::ToInt64Nanoseconds(RetryDelayOf(status));
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(nanoseconds / 1'000'000'000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
    details.add_details()->PackFrom(retry);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      details.SerializeAsString());
}

}  // namespace denoise
