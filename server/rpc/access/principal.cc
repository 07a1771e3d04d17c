#include "server/rpc/access/principal.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

constexpr size_t kMaxNameLength = 128;

std::string Text(std::chrono::nanoseconds duration) {
  return absl::FormatDuration(absl::Ceil(absl::FromChrono(duration), absl::Milliseconds(1)));
}

}  // namespace

const char* Name(Scope scope) {
  switch (scope) {
    case Scope::kInfer:
      return "infer";
    case Scope::kAdmin:
      return "admin";
    case Scope::kMetrics:
      return "metrics";
  }
  return "";
}

bool IsName(absl::string_view text) {
  return !text.empty() && text.size() <= kMaxNameLength &&
         std::all_of(text.begin(), text.end(), absl::ascii_isgraph);
}

absl::Status Grant(const Principal& principal, Request* request) {
  if (request->priority > principal.max_priority) {
    return FieldDenied("priority",
                       absl::StrCat(request->priority, " is above ", principal.max_priority,
                                    ", the highest that this caller may ask for"));
  }
  if (principal.max_call.count() > 0) {
    const SteadyTime end = request->arrival + principal.max_call;
    if (request->deadline.has_value() && *request->deadline > end) {
      return FieldDenied(
          "deadline",
          absl::StrCat(Text(*request->deadline - request->arrival), " from now are more than the ",
                       Text(principal.max_call), " that a call of this caller may take"));
    }
    if (!request->deadline.has_value()) {
      request->deadline = end;
      request->deadline_is_limit = true;
    }
  }
  request->tenant = principal.tenant;
  request->limits = principal.limits;
  return absl::OkStatus();
}

}  // namespace denoise
