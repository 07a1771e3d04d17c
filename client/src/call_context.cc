#include "client/src/call_context.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace denoise {
inline namespace client_v1 {
namespace {

constexpr char kRequestId[] = "x-request-id";
constexpr char kAuthorization[] = "authorization";

bool IsNameCharacter(char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '_' || c == '.';
}

bool IsPrintable(char c) { return c >= ' ' && c <= '~'; }

bool IsTokenCharacter(char c) { return c > ' ' && c <= '~'; }

}  // namespace

absl::Status CheckMetadata(const Metadata& metadata) {
  for (const auto& [name, value] : metadata) {
    if (name.empty() || !std::all_of(name.begin(), name.end(), IsNameCharacter) ||
        name.rfind("grpc-", 0) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("metadata name '", absl::CEscape(name),
                       "': use lower-case letters, digits, '-', '_' and '.', and not 'grpc-'"));
    }
    const bool binary = name.size() > 4 && name.compare(name.size() - 4, 4, "-bin") == 0;
    if (!binary && !std::all_of(value.begin(), value.end(), IsPrintable)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "metadata '", name, "' is '", absl::CEscape(value), "': use printable ASCII"));
    }
  }
  return absl::OkStatus();
}

absl::Status PrepareContext(const ClientOptions& client, const CallOptions& call,
                            grpc::ClientContext* context) {
  if (call.timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat("timeout is ",
                                                   absl::FormatDuration(call.timeout),
                                                   ": it must be positive, or 0 for the "
                                                   "client's default"));
  }
  Metadata metadata = client.metadata;
  metadata.insert(metadata.end(), call.metadata.begin(), call.metadata.end());
  if (!call.request_id.empty()) metadata.emplace_back(kRequestId, call.request_id);
  if (auto status = CheckMetadata(metadata); !status.ok()) return status;

  if (client.token) {
    const auto token = client.token();
    if (!token.ok()) return token.status();
    if (token->empty() || !std::all_of(token->begin(), token->end(), IsTokenCharacter)) {
      // Not shown: it is a secret, if a broken one.
      return absl::InvalidArgumentError(
          "the token is empty, or has other characters than printable ASCII without blanks");
    }
    metadata.emplace_back(kAuthorization, absl::StrCat("Bearer ", *token));
  }

  for (const auto& [name, value] : metadata) context->AddMetadata(name, value);
  const absl::Duration timeout =
      call.timeout > absl::ZeroDuration() ? call.timeout : client.default_timeout;
  // Beyond a century a system_clock would overflow; nobody waits so long.
  if (timeout < absl::Hours(24 * 36500)) {
    context->set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  }
  return absl::OkStatus();
}

}  // namespace client_v1
}  // namespace denoise
