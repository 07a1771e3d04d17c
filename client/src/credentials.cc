#include "denoise/credentials.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace denoise {
inline namespace client_v1 {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) {
    return absl::NotFoundError(absl::StrCat("'", path, "' cannot be read, or is empty"));
  }
  return text.str();
}

}  // namespace

absl::StatusOr<TlsOptions> ReadTls(const TlsFiles& files) {
  TlsOptions options;
  for (const auto& [path, text] : {std::pair{&files.ca, &options.ca_pem},
                                   std::pair{&files.certificate, &options.certificate_pem},
                                   std::pair{&files.key, &options.key_pem}}) {
    if (path->empty()) continue;
    auto read = ReadFile(*path);
    if (!read.ok()) return read.status();
    *text = *std::move(read);
  }
  return options;
}

TokenSource FixedToken(std::string token) {
  return [token = std::move(token)]() -> absl::StatusOr<std::string> { return token; };
}

TokenSource TokenFromFile(std::string path) {
  return [path = std::move(path)]() -> absl::StatusOr<std::string> {
    auto text = ReadFile(path);
    if (!text.ok()) return text;
    return std::string(absl::StripAsciiWhitespace(*text));
  };
}

}  // namespace client_v1
}  // namespace denoise
