#include "server/engine/tenant_shares.h"

#include <algorithm>

namespace denoise {

uint64_t TenantShares::Add(const std::string& tenant, uint64_t rows) {
  if (tenants_.size() >= max_idle_ && !tenants_.contains(tenant)) {
    absl::erase_if(tenants_, [](const auto& entry) { return entry.second.waiting == 0; });
  }
  const uint64_t share = ShareOf(tenant);
  Tenant& of_tenant = tenants_[tenant];
  ++of_tenant.waiting;
  of_tenant.end = share + rows;
  return share;
}

uint64_t TenantShares::ShareOf(const std::string& tenant) const {
  const auto it = tenants_.find(tenant);
  return it == tenants_.end() ? served_ : std::max(served_, it->second.end);
}

size_t TenantShares::waiting(const std::string& tenant) const {
  const auto it = tenants_.find(tenant);
  return it == tenants_.end() ? 0 : it->second.waiting;
}

}  // namespace denoise
