// What each tenant has and has asked for, so that none gets more of the server by asking for more.
#ifndef DENOISE_SERVER_ENGINE_TENANTS_H_
#define DENOISE_SERVER_ENGINE_TENANTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/active_chains.h"
#include "server/engine/clock.h"
#include "server/engine/tenant_limits.h"
#include "server/engine/token_bucket.h"

namespace denoise {

// Whether a status refuses a request because of its tenant's own limits, and if so when it may come
// again; zero: that is not known.
std::optional<absl::Duration> QuotaDelayOf(const absl::Status& status);

class Tenant {
 public:
  size_t waiting() const { return waiting_; }  // requests
  uint64_t waiting_bytes() const { return waiting_bytes_; }
  size_t active() const { return active_->load(std::memory_order_relaxed); }  // chains

  // Chains that it may have besides those that it has and `promised`.
  size_t RoomFor(const TenantLimits& limits, size_t promised = 0) const;
  ActiveChains Activate(size_t chains) const { return ActiveChains(active_, chains); }

  // For whoever hands out chains: promised to the requests looked at so far.
  size_t promised = 0;

 private:
  friend class Tenants;
  size_t waiting_ = 0;
  uint64_t waiting_bytes_ = 0;
  uint64_t share_end_ = 0;
  TokenBucket rows_;
  ActiveChains::Count active_ = std::make_shared<std::atomic<size_t>>(0);
};

// Not thread-safe, but for the counts of active chains.
//
// The order among them is start-time fair queueing (Goyal, Vin, Cheng 1996): a request's share is
// where its tenant's one before it ended, counted in denoiser rows, but not before what is served
// now, so that nobody saves up while away.
class Tenants {
 public:
  // Tenants may come and go by the thousand, so past `max_known` those are forgotten that have
  // nothing here: first those that owe nothing, by their share or their rows, then the one that
  // owes least. So nobody gets rid of what he owes by making up names.
  explicit Tenants(size_t max_known) : max_known_(max_known) {}

  // What a request is and brings.
  struct Ask {
    uint64_t rows = 0;   // of the denoiser
    uint64_t bytes = 0;  // that wait with it
  };
  // OK where the tenant may have it now. RESOURCE_EXHAUSTED of which QuotaDelayOf() tells, naming
  // the limit; PERMISSION_DENIED where it brings more than the tenant may ever have waiting.
  absl::Status Check(const std::string& name, const TenantLimits& limits, const Ask& ask,
                     SteadyTime now) const;
  // The request starts to wait, and its rows are paid for. The tenant is known at least until the
  // last of its requests has left.
  Tenant* Enter(const std::string& name, const TenantLimits& limits, const Ask& ask,
                SteadyTime now);
  // A request that brought so much waits no longer.
  void Leave(Tenant* tenant, uint64_t bytes);

  // The share of a request that entered now.
  uint64_t ShareOf(const std::string& name) const;
  // Of the requests that wait or run, the smallest share is `share`.
  void ServedUpTo(uint64_t share) { served_ = share > served_ ? share : served_; }

  // Null where it is not known.
  const Tenant* Find(const std::string& name) const;
  // Calls visit(name, tenant) for each that is known.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [name, tenant] : tenants_) visit(name, *tenant);
  }

 private:
  bool OwesNothing(const Tenant& tenant, SteadyTime now) const;
  void MakeRoom(SteadyTime now);

  const size_t max_known_;
  absl::flat_hash_map<std::string, std::unique_ptr<Tenant>> tenants_;
  uint64_t served_ = 0;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_TENANTS_H_
