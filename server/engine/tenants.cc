#include "server/engine/tenants.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr char kQuotaPayload[] = "denoise.v1/quota_delay_nanoseconds";

absl::Status QuotaError(absl::Duration delay, absl::string_view message) {
  absl::Status status = absl::ResourceExhaustedError(message);
  status.SetPayload(kQuotaPayload, absl::Cord(absl::StrCat(absl::ToInt64Nanoseconds(delay))));
  return status;
}

bool HasNothing(const Tenant& tenant) { return tenant.waiting() == 0 && tenant.active() == 0; }

}  // namespace

std::optional<absl::Duration> QuotaDelayOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kQuotaPayload);
  int64_t nanoseconds;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &nanoseconds)) {
    return std::nullopt;
  }
  return absl::Nanoseconds(nanoseconds);
}

size_t Tenant::RoomFor(const TenantLimits& limits, size_t promised) const {
  if (limits.max_active == 0) return SIZE_MAX;
  const size_t taken = active() + promised;
  return limits.max_active > taken ? limits.max_active - taken : 0;
}

absl::Status Tenants::Check(const std::string& name, const TenantLimits& limits, const Ask& ask,
                            SteadyTime now) const {
  if (limits.max_waiting_bytes > 0 && ask.bytes > limits.max_waiting_bytes) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the request brings ", ask.bytes, " bytes, and ", limits.max_waiting_bytes,
        " are all that its tenant may have waiting: send smaller conditions or images"));
  }
  static const Tenant* const kNobody = new Tenant();
  const Tenant* found = Find(name);
  const Tenant& tenant = found == nullptr ? *kNobody : *found;
  if (limits.max_waiting > 0 && tenant.waiting() >= limits.max_waiting) {
    return QuotaError(absl::ZeroDuration(),
                      absl::StrCat("the tenant's part of the queue is full: ", tenant.waiting(),
                                   " of its requests wait, and no more may: retry later"));
  }
  if (limits.max_waiting_bytes > 0 &&
      tenant.waiting_bytes() + ask.bytes > limits.max_waiting_bytes) {
    return QuotaError(absl::ZeroDuration(),
                      absl::StrCat("the tenant's part of the queue is full: its requests that "
                                   "wait have brought ",
                                   tenant.waiting_bytes(), " bytes, this one has ", ask.bytes,
                                   ", and ", limits.max_waiting_bytes, " may wait: retry later"));
  }
  const absl::Duration wait =
      absl::FromChrono(tenant.rows_.Wait(static_cast<double>(ask.rows), limits.rows, now));
  if (wait > absl::ZeroDuration()) {
    return QuotaError(wait,
                      absl::StrCat("the tenant's rows are used up: this request needs ", ask.rows,
                                   " denoiser rows, and ", limits.rows.per_second,
                                   " a second may be asked for: retry in ",
                                   absl::FormatDuration(absl::Ceil(wait, absl::Milliseconds(1)))));
  }
  return absl::OkStatus();
}

Tenant* Tenants::Enter(const std::string& name, const TenantLimits& limits, const Ask& ask,
                       SteadyTime now) {
  if (tenants_.size() >= max_known_ && !tenants_.contains(name)) MakeRoom(now);
  std::unique_ptr<Tenant>& known = tenants_[name];
  if (known == nullptr) known = std::make_unique<Tenant>();
  Tenant* tenant = known.get();
  ++tenant->waiting_;
  tenant->waiting_bytes_ += ask.bytes;
  tenant->share_end_ = std::max(served_, tenant->share_end_) + ask.rows;
  tenant->rows_.Take(static_cast<double>(ask.rows), limits.rows, now);
  return tenant;
}

void Tenants::Leave(Tenant* tenant, uint64_t bytes) {
  --tenant->waiting_;
  tenant->waiting_bytes_ -= bytes;
}

uint64_t Tenants::ShareOf(const std::string& name) const {
  const Tenant* tenant = Find(name);
  return tenant == nullptr ? served_ : std::max(served_, tenant->share_end_);
}

const Tenant* Tenants::Find(const std::string& name) const {
  const auto it = tenants_.find(name);
  return it == tenants_.end() ? nullptr : it->second.get();
}

bool Tenants::OwesNothing(const Tenant& tenant, SteadyTime now) const {
  return tenant.share_end_ <= served_ && tenant.rows_.full_at() <= now;
}

void Tenants::MakeRoom(SteadyTime now) {
  absl::erase_if(tenants_, [&](const auto& entry) {
    return HasNothing(*entry.second) && OwesNothing(*entry.second, now);
  });
  if (tenants_.size() < max_known_) return;
  auto least = tenants_.end();
  const auto debt = [](const Tenant& tenant) {
    return std::pair(tenant.rows_.full_at(), tenant.share_end_);
  };
  for (auto it = tenants_.begin(); it != tenants_.end(); ++it) {
    if (!HasNothing(*it->second)) continue;
    if (least == tenants_.end() || debt(*it->second) < debt(*least->second)) least = it;
  }
  if (least != tenants_.end()) tenants_.erase(least);
}

}  // namespace denoise
