// What each tenant has asked for, so that none gets more of the server by asking for more.
#ifndef DENOISE_SERVER_ENGINE_TENANT_SHARES_H_
#define DENOISE_SERVER_ENGINE_TENANT_SHARES_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"

namespace denoise {

// Start-time fair queueing (Goyal, Vin, Cheng 1996): a request's share is where its tenant's one
// before it ended, counted in denoiser rows, but not before what is served now, so that nobody
// saves up while away. Not thread-safe.
class TenantShares {
 public:
  // Names come from callers, so past `max_idle` tenants those of whom nothing waits are forgotten.
  explicit TenantShares(size_t max_idle) : max_idle_(max_idle) {}

  // A request of `rows` starts to wait; its share.
  uint64_t Add(const std::string& tenant, uint64_t rows);
  // What Add() would say now.
  uint64_t ShareOf(const std::string& tenant) const;
  // A request of that tenant waits no longer.
  void Leave(const std::string& tenant) { --tenants_.at(tenant).waiting; }
  // Of the requests that wait or run, the smallest share is `share`.
  void ServedUpTo(uint64_t share) { served_ = share > served_ ? share : served_; }

  // Requests of that tenant that wait.
  size_t waiting(const std::string& tenant) const;

 private:
  struct Tenant {
    size_t waiting = 0;
    uint64_t end = 0;
  };
  const size_t max_idle_;
  absl::flat_hash_map<std::string, Tenant> tenants_;
  uint64_t served_ = 0;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_TENANT_SHARES_H_
