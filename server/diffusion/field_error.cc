#include "server/diffusion/field_error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr char kFieldPayload[] = "denoise.v1/field";

absl::Status Of(absl::StatusCode code, absl::string_view field, absl::string_view message) {
  absl::Status status(code, absl::StrCat(field, ": ", message));
  status.SetPayload(kFieldPayload, absl::Cord(field));
  return status;
}

}  // namespace

absl::Status FieldError(absl::string_view field, absl::string_view message) {
  return Of(absl::StatusCode::kInvalidArgument, field, message);
}

absl::Status FieldDenied(absl::string_view field, absl::string_view message) {
  return Of(absl::StatusCode::kPermissionDenied, field, message);
}

std::optional<std::string> FieldOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kFieldPayload);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

}  // namespace denoise
