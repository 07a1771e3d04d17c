// The principals of a file.
#ifndef DENOISE_SERVER_RPC_ACCESS_TOKEN_FILE_H_
#define DENOISE_SERVER_RPC_ACCESS_TOKEN_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/engine/clock.h"
#include "server/engine/mutex.h"
#include "server/rpc/access/credentials.h"
#include "server/rpc/access/principal.h"

namespace denoise {

// The file is looked at again when it is asked, at most once a second, and read where it has
// changed. One that has gone, or that ReadCredentials() refuses, changes nothing but stale() and
// the log: what was read before stays in force.
//
// Thread-safe.
class TokenFile {
 public:
  // `defaults`: what entries leave out. `clock` outlives it. INVALID_ARGUMENT, naming the file and
  // the line, for a file that cannot be read or is refused.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(const std::string& path,
                                                         const Principal& defaults,
                                                         const Clock* clock);

  // Whose token it is, found in a time that does not tell how much of it is right; null: nobody's.
  std::shared_ptr<const Principal> OfToken(absl::string_view token);
  // Whose entry comes first of those that a certificate with these names shows; null: nobody's.
  std::shared_ptr<const Principal> OfCertificate(absl::Span<const std::string> names);

  // All that are in force.
  std::shared_ptr<const std::vector<Credential>> all();
  // Whether the file as it is now was refused, so that what is in force is of an older one.
  bool stale();

 private:
  using Credentials = std::shared_ptr<const std::vector<Credential>>;
  // What changes when the file does.
  struct Stamp {
    uint64_t inode = 0;
    int64_t size = -1;
    int64_t seconds = 0;
    int64_t nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };

  TokenFile(std::string path, const Principal& defaults, const Clock* clock);
  absl::Status Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LookAgain() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  const Principal defaults_;
  const Clock* const clock_;
  Mutex mutex_;
  Stamp stamp_ ABSL_GUARDED_BY(mutex_);
  SteadyTime looked_ ABSL_GUARDED_BY(mutex_);
  absl::Status last_read_ ABSL_GUARDED_BY(mutex_);  // why it was refused
  Credentials in_force_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_TOKEN_FILE_H_
