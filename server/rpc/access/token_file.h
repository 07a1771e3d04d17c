// The tokens that callers may show.
#ifndef DENOISE_SERVER_RPC_ACCESS_TOKEN_FILE_H_
#define DENOISE_SERVER_RPC_ACCESS_TOKEN_FILE_H_

#include <array>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/clock.h"
#include "server/engine/mutex.h"

namespace denoise {

// A token a line; empty lines and those that begin with '#' are none. Several, so that one can be
// replaced while callers still use the old one. The file is looked at again when a token is asked
// about, at most once a second, and read where it has changed. A file that has gone, or that holds
// no token any more, changes nothing: take a token out by leaving the others in.
//
// Thread-safe.
class TokenFile {
 public:
  // `clock` outlives it. INVALID_ARGUMENT for a file that cannot be read, that holds no token, or
  // one with other characters than printable ASCII without blanks.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(const std::string& path,
                                                         const Clock* clock);

  // Whether `token` is one of them, in a time that does not tell how much of it is right.
  bool Accepts(absl::string_view token);

 private:
  using Digest = std::array<uint8_t, 32>;  // SHA-256
  // What changes when the file does.
  struct Stamp {
    uint64_t inode = 0;
    int64_t size = -1;
    int64_t seconds = 0;
    int64_t nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };

  TokenFile(std::string path, const Clock* clock);
  static Digest DigestOf(absl::string_view token);
  absl::Status Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  const Clock* const clock_;
  Mutex mutex_;
  Stamp stamp_ ABSL_GUARDED_BY(mutex_);
  SteadyTime looked_ ABSL_GUARDED_BY(mutex_);
  std::vector<Digest> tokens_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_TOKEN_FILE_H_
