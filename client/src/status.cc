#include "client/src/status.h"

#include "absl/strings/str_cat.h"
#include "client/src/decode.h"
#include "denoise/error_details.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace denoise {
inline namespace client_v1 {
namespace {

constexpr char kTypePrefix[] = "type.googleapis.com/";

// Reads the payload of type M; false where there is none.
template <typename M>
bool ReadPayload(const absl::Status& status, M* message) {
  const auto payload = status.GetPayload(absl::StrCat(kTypePrefix, M::descriptor()->full_name()));
  return payload.has_value() && message->ParseFromString(std::string(*payload));
}

template <typename M>
void WritePayload(const M& message, absl::Status* status) {
  status->SetPayload(absl::StrCat(kTypePrefix, M::descriptor()->full_name()),
                     absl::Cord(message.SerializeAsString()));
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status converted(static_cast<absl::StatusCode>(status.error_code()),
                         status.error_message());
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      converted.SetPayload(detail.type_url(), absl::Cord(detail.value()));
    }
  }
  return converted;
}

absl::Status Malformed(const std::string& what) {
  return absl::DataLossError(absl::StrCat("the server's answer is malformed: ", what));
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  if (google::rpc::BadRequest bad; ReadPayload(status, &bad)) {
    for (auto& violation : *bad.mutable_field_violations()) {
      details.field_violations.push_back(
          {std::move(*violation.mutable_field()), std::move(*violation.mutable_description())});
    }
  }
  if (google::rpc::RetryInfo retry; ReadPayload(status, &retry) && retry.has_retry_delay()) {
    const auto delay = DecodeDuration(retry.retry_delay(), "retry_delay");
    if (delay.ok() && *delay >= absl::ZeroDuration()) details.retry_delay = *delay;
  }
  if (google::rpc::ErrorInfo info; ReadPayload(status, &info)) {
    details.reason = info.reason();
    details.domain = info.domain();
    details.metadata = {info.metadata().begin(), info.metadata().end()};
  }
  return details;
}

absl::Status WithDetails(absl::Status status, const ErrorDetails& details) {
  if (!details.field_violations.empty()) {
    google::rpc::BadRequest bad;
    for (const FieldViolation& violation : details.field_violations) {
      auto* one = bad.add_field_violations();
      one->set_field(violation.field);
      one->set_description(violation.description);
    }
    WritePayload(bad, &status);
  }
  if (details.retry_delay) {
    absl::Duration rest;
    google::rpc::RetryInfo retry;
    auto* delay = retry.mutable_retry_delay();
    delay->set_seconds(absl::IDivDuration(*details.retry_delay, absl::Seconds(1), &rest));
    delay->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
    WritePayload(retry, &status);
  }
  if (!details.reason.empty() || !details.domain.empty() || !details.metadata.empty()) {
    google::rpc::ErrorInfo info;
    info.set_reason(details.reason);
    info.set_domain(details.domain);
    info.mutable_metadata()->insert(details.metadata.begin(), details.metadata.end());
    WritePayload(info, &status);
  }
  return status;
}

}  // namespace client_v1
}  // namespace denoise
