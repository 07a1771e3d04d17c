// What one tenant may have of the server.
#ifndef DENOISE_SERVER_ENGINE_TENANT_LIMITS_H_
#define DENOISE_SERVER_ENGINE_TENANT_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "server/engine/token_bucket.h"

namespace denoise {

// 0: no bound but the server's own. Limits come with a request, from its caller's credential; what
// they are compared with is counted by tenant.
struct TenantLimits {
  size_t max_waiting = 0;          // requests
  uint64_t max_waiting_bytes = 0;  // that those have brought
  size_t max_active = 0;           // chains; more of them wait, and others pass
  TokenBucket::Rate rows;          // denoiser rows that are asked for
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_TENANT_LIMITS_H_
