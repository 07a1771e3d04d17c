#include "server/hash_token.h"

#include <sysexits.h>

#include <algorithm>
#include <iostream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "server/rpc/access/credentials.h"

namespace denoise {
namespace {

// Whoever gets the file may try all shorter ones.
constexpr size_t kMinLength = 16;

}  // namespace

int HashToken() {
  std::string line;
  std::getline(std::cin, line);
  const absl::string_view token = absl::StripTrailingAsciiWhitespace(line);
  if (token.size() < kMinLength || !std::all_of(token.begin(), token.end(), absl::ascii_isgraph)) {
    std::cerr << "denoised: --hash-token: what standard input holds is not a token of "
              << kMinLength
              << " printable ASCII characters or more without blanks: openssl rand -hex 32 makes "
                 "one\n";
    return EX_DATAERR;
  }
  const Digest digest = DigestOf(token);
  std::cout << absl::BytesToHexString(
                   absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()))
            << "\n";
  return EX_OK;
}

}  // namespace denoise
