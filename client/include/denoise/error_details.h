// What a server says of an error beyond its code and message.
#ifndef DENOISE_ERROR_DETAILS_H_
#define DENOISE_ERROR_DETAILS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace denoise {
inline namespace client_v1 {

struct FieldViolation {
  std::string field;        // such as "sampler.steps"
  std::string description;  // the value, and what would be right
};

struct ErrorDetails {
  std::vector<FieldViolation> field_violations;  // of an INVALID_ARGUMENT
  std::optional<absl::Duration> retry_delay;     // retry no sooner
  std::string reason;                            // for programs, such as QUEUE_FULL
  std::string domain;                            // of the reason: "denoise.v1"
  std::map<std::string, std::string> metadata;   // of the reason
};

// Reads the google.rpc details that this library leaves in the payloads of a failed call's status.
// What is not there, or cannot be read, is left empty.
ErrorDetails DetailsOf(const absl::Status& status);

// The other way round, for those who stand in for a server: `status`, which is not OK, with details
// that DetailsOf() reads.
absl::Status WithDetails(absl::Status status, const ErrorDetails& details);

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_ERROR_DETAILS_H_
