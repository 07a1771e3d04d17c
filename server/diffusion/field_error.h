// Errors that name the field they are about, so that the answer to a caller can carry it as data.
#ifndef DENOISE_SERVER_DIFFUSION_FIELD_ERROR_H_
#define DENOISE_SERVER_DIFFUSION_FIELD_ERROR_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace denoise {

// `field` is the path in the request ("sampler.steps"), `message` says the value and what would be
// right.
absl::Status FieldError(absl::string_view field, absl::string_view message);

// PERMISSION_DENIED of the same form: another caller might.
absl::Status FieldDenied(absl::string_view field, absl::string_view message);

// The field of a status made by those, else nullopt.
std::optional<std::string> FieldOf(const absl::Status& status);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_FIELD_ERROR_H_
