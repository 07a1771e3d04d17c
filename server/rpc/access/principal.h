// Who calls, and what that one may have.
#ifndef DENOISE_SERVER_RPC_ACCESS_PRINCIPAL_H_
#define DENOISE_SERVER_RPC_ACCESS_PRINCIPAL_H_

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/engine/request.h"
#include "server/engine/tenant_limits.h"

namespace denoise {

enum class Scope : unsigned {
  kInfer = 1,    // denoise.v1.Diffusion and the Open Inference Protocol
  kAdmin = 2,    // denoise.v1.ModelAdmin
  kMetrics = 4,  // /metrics
};
// "infer", "admin", "metrics"
const char* Name(Scope scope);

// What a server's flags say for those of whom the token file says nothing, until then: nobody in
// particular, who may do anything but name a tenant or ask to go first.
struct Principal {
  std::string name;    // of its entry in the token file; empty: a caller without credentials
  std::string tenant;  // whose part of the server its calls use; empty: no one's in particular
  bool may_name_tenant = false;          // by the metadata denoise-tenant
  int max_priority = 0;                  // of a request
  std::chrono::nanoseconds max_call{0};  // the longest; 0: no bound
  TenantLimits limits;
  unsigned scopes = ~0u;  // of Scope

  bool Has(Scope scope) const { return (scopes & static_cast<unsigned>(scope)) != 0; }
};

// Whether it may name a tenant, a principal or a call: 1..128 printable ASCII characters without
// blanks, so that it fits into logs.
bool IsName(absl::string_view text);

// Makes the request the principal's, with its tenant and limits. PERMISSION_DENIED, naming the
// field, its value and the limit, where its priority or its deadline is beyond what the principal
// may ask for. A request without a deadline gets the longest that there may be. `arrival`,
// `deadline` and `priority` are set before.
absl::Status Grant(const Principal& principal, Request* request);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_PRINCIPAL_H_
