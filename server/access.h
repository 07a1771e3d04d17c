// Who may call a server that was started with these flags, and what each may have.
#ifndef DENOISE_SERVER_ACCESS_H_
#define DENOISE_SERVER_ACCESS_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/clock.h"
#include "server/engine/waiting_queue.h"
#include "server/flags.h"
#include "server/metrics/metrics.h"
#include "server/rpc/access/authentication.h"
#include "server/rpc/access/token_file.h"

namespace denoise {

// Thread-safe.
class Access {
 public:
  // Reads the token file, where there is one. `clock` outlives it. INVALID_ARGUMENT, naming the
  // flag, for files that are of no use.
  static absl::StatusOr<std::unique_ptr<Access>> Open(const Flags& flags, const Clock* clock);

  const Authenticator& authenticator() const { return authenticator_; }
  // The same where callers need credentials, else null.
  const Authenticator* required() const { return tokens_ == nullptr ? nullptr : &authenticator_; }
  // Of scrapes: null where no entry of the token file has the scope metrics.
  Metrics::Authorize scrapes() const;

  bool stale() const { return tokens_ != nullptr && tokens_->stale(); }
  // What the tenants of the token file have; all others together as the empty name.
  std::vector<CallerGauges::Tenant> TenantsOf(const WaitingQueue& queue) const;

 private:
  Access(std::unique_ptr<TokenFile> tokens, const Flags& flags);

  const std::unique_ptr<TokenFile> tokens_;  // null: nobody needs a credential
  const Authenticator authenticator_;
};

// Says in the log where the port for callers is open to other machines, and lacks TLS or asks for
// no credential.
void WarnOfOpenPort(const Flags& flags);

}  // namespace denoise

#endif  // DENOISE_SERVER_ACCESS_H_
