#include "server/rpc/access/token_file.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "spdlog/spdlog.h"

namespace denoise {
namespace {

constexpr std::chrono::seconds kLookAgain{1};

}  // namespace

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(const std::string& path,
                                                           const Clock* clock) {
  std::unique_ptr<TokenFile> file(new TokenFile(path, clock));
  {
    TokenFile* const opened = file.get();
    MutexLock lock(opened->mutex_);
    if (absl::Status status = opened->Read(); !status.ok()) return status;
  }
  return file;
}

TokenFile::TokenFile(std::string path, const Clock* clock)
    : path_(std::move(path)), clock_(clock), looked_(clock->Now()) {}

TokenFile::Digest TokenFile::DigestOf(absl::string_view token) {
  Digest digest;
  SHA256(reinterpret_cast<const uint8_t*>(token.data()), token.size(), digest.data());
  return digest;
}

absl::Status TokenFile::Read() {
  const auto bad = [this](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("'", path_, "' ", what));
  };
  struct stat now;
  if (stat(path_.c_str(), &now) != 0) return bad("cannot be read");
  const Stamp stamp = {now.st_ino, now.st_size, now.st_mtim.tv_sec, now.st_mtim.tv_nsec};
  if (stamp == stamp_) return absl::OkStatus();
  stamp_ = stamp;  // also of a file that is of no use: that is said once

  std::ifstream file(path_);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return bad("cannot be read");
  std::vector<Digest> tokens;
  for (absl::string_view line : absl::StrSplit(text.str(), '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    if (!std::all_of(line.begin(), line.end(), absl::ascii_isgraph)) {
      return bad("holds a token with other characters than printable ASCII without blanks");
    }
    tokens.push_back(DigestOf(line));
  }
  if (tokens.empty()) return bad("holds no token: write one a line");
  tokens_ = std::move(tokens);
  return absl::OkStatus();
}

bool TokenFile::Accepts(absl::string_view token) {
  const Digest digest = DigestOf(token);
  MutexLock lock(mutex_);
  if (const SteadyTime now = clock_->Now(); now - looked_ >= kLookAgain) {
    looked_ = now;
    if (const absl::Status status = Read(); !status.ok()) {
      spdlog::warn("--token-file: {}; the tokens read before stay in force",
                   std::string(status.message()));
    }
  }
  bool found = false;
  for (const Digest& known : tokens_) {
    found |= CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0;
  }
  return found;
}

}  // namespace denoise
