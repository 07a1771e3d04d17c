// What the text of a token file says: who may call, and what each may have.
#ifndef DENOISE_SERVER_RPC_ACCESS_CREDENTIALS_H_
#define DENOISE_SERVER_RPC_ACCESS_CREDENTIALS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/rpc/access/principal.h"

namespace denoise {

using Digest = std::array<uint8_t, 32>;  // SHA-256

Digest DigestOf(absl::string_view token);

// What shows that a call is the principal's: any of its tokens, or a certificate with any of its
// names.
struct Credential {
  std::vector<Digest> tokens;
  std::vector<std::string> names;  // of a certificate's subjectAltName
  std::shared_ptr<const Principal> principal;
};

// From a JSON list with an object for each principal (docs/security.md has its keys), at least one.
// What an entry leaves out is as in `defaults`, but for its tenant, which is then its name, and its
// scope, which is then infer. INVALID_ARGUMENT that begins with "line N: " for anything else: an
// unknown key, a value out of its range, a name, token or certificate's name that is there twice.
// Never tells what could be a token.
absl::StatusOr<std::vector<Credential>> ReadCredentials(const std::string& text,
                                                        const Principal& defaults);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_CREDENTIALS_H_
