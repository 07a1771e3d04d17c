#include "server/rpc/access/token_file.h"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"

namespace denoise {
namespace {

constexpr std::chrono::seconds kLookAgain{1};
// Of thousands of entries. It is read between calls, and every call compares with all of them.
constexpr int64_t kMaxBytes = 1 << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(const std::string& path,
                                                           const Principal& defaults,
                                                           const Clock* clock) {
  std::unique_ptr<TokenFile> file(new TokenFile(path, defaults, clock));
  {
    TokenFile* const opened = file.get();
    MutexLock lock(opened->mutex_);
    if (absl::Status status = opened->Read(); !status.ok()) return status;
  }
  return file;
}

TokenFile::TokenFile(std::string path, const Principal& defaults, const Clock* clock)
    : path_(std::move(path)), defaults_(defaults), clock_(clock), looked_(clock->Now()) {}

// A file that was refused is so until it changes.
absl::Status TokenFile::Read() {
  const auto bad = [this](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("'", path_, "' ", what));
  };
  struct stat now;
  if (stat(path_.c_str(), &now) != 0 || !S_ISREG(now.st_mode)) {
    stamp_ = {};
    return bad("cannot be read");
  }
  const Stamp stamp = {now.st_ino, now.st_size, now.st_mtim.tv_sec, now.st_mtim.tv_nsec};
  if (stamp == stamp_) return last_read_;
  stamp_ = stamp;
  if (now.st_size > kMaxBytes) return bad(absl::StrCat("has more than ", kMaxBytes, " bytes"));

  std::ifstream file(path_);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return bad("cannot be read");
  absl::StatusOr<std::vector<Credential>> read = ReadCredentials(text.str(), defaults_);
  if (!read.ok()) return bad(read.status().message());
  in_force_ = std::make_shared<const std::vector<Credential>>(*std::move(read));
  return absl::OkStatus();
}

void TokenFile::LookAgain() {
  const SteadyTime now = clock_->Now();
  if (now - looked_ < kLookAgain) return;
  looked_ = now;
  const Stamp before = stamp_;
  absl::Status read = Read();
  if (!read.ok() && read != last_read_) {
    spdlog::warn("--token-file: {}; what was read before stays in force",
                 std::string(read.message()));
  }
  if (read.ok() && stamp_ != before) {
    spdlog::info("--token-file: read anew, {} entries", in_force_->size());
  }
  last_read_ = std::move(read);
}

std::shared_ptr<const std::vector<Credential>> TokenFile::all() {
  MutexLock lock(mutex_);
  LookAgain();
  return in_force_;
}

bool TokenFile::stale() {
  MutexLock lock(mutex_);
  LookAgain();
  return !last_read_.ok();
}

std::shared_ptr<const Principal> TokenFile::OfToken(absl::string_view token) {
  const Digest digest = DigestOf(token);
  const Credentials credentials = all();
  const Credential* found = nullptr;
  for (const Credential& credential : *credentials) {
    for (const Digest& known : credential.tokens) {
      if (CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0) found = &credential;
    }
  }
  return found == nullptr ? nullptr : found->principal;
}

std::shared_ptr<const Principal> TokenFile::OfCertificate(absl::Span<const std::string> names) {
  const Credentials credentials = all();
  for (const Credential& credential : *credentials) {
    for (const std::string& known : credential.names) {
      if (std::find(names.begin(), names.end(), known) != names.end()) return credential.principal;
    }
  }
  return nullptr;
}

}  // namespace denoise
