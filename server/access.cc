#include "server/access.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"

namespace denoise {
namespace {

// What every caller may have of whom the token file does not say otherwise.
Principal DefaultsOf(const Flags& flags) {
  Principal defaults;
  defaults.max_priority = flags.max_priority;
  defaults.max_call = Nanoseconds(flags.max_call_seconds);
  defaults.limits = {.max_waiting = flags.max_waiting_per_tenant,
                     .max_waiting_bytes = flags.max_bytes_per_tenant,
                     .max_active = flags.max_active_per_tenant,
                     .rows = {flags.max_rate_per_tenant, std::max(1.0, flags.max_rate_per_tenant)}};
  return defaults;
}

// Callers without credentials. Where they are all one tenant, that one may have what there is.
Principal AnyoneOf(const Flags& flags) {
  Principal anyone = DefaultsOf(flags);
  anyone.may_name_tenant = flags.tenant_by == TenantBy::kMetadata;
  if (!flags.has_tenants()) anyone.limits = {};
  return anyone;
}

bool AnyHas(const std::vector<Credential>& credentials, Scope scope) {
  return std::any_of(credentials.begin(), credentials.end(), [scope](const Credential& credential) {
    return credential.principal->Has(scope);
  });
}

absl::Status Check(const Flags& flags, const std::vector<Credential>& credentials) {
  const bool by_certificate =
      std::any_of(credentials.begin(), credentials.end(),
                  [](const Credential& credential) { return !credential.names.empty(); });
  if (by_certificate && flags.tls.client_ca.empty()) {
    return absl::InvalidArgumentError(
        "--token-file: entries with san need certificates that somebody vouches for: give "
        "--tls-client-ca");
  }
  if (!flags.admin_listen.empty() && !AnyHas(credentials, Scope::kAdmin)) {
    return absl::InvalidArgumentError(
        "--admin-listen: no entry of --token-file has the scope admin, so that nobody could use "
        "it: add one, or leave --admin-listen out");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Access>> Access::Open(const Flags& flags, const Clock* clock) {
  std::unique_ptr<TokenFile> tokens;
  if (!flags.token_file.empty()) {
    auto opened = TokenFile::Open(flags.token_file, DefaultsOf(flags), clock);
    if (!opened.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--token-file: ", opened.status().message()));
    }
    tokens = *std::move(opened);
    if (absl::Status status = Check(flags, *tokens->all()); !status.ok()) return status;
  }
  return std::unique_ptr<Access>(new Access(std::move(tokens), flags));
}

Access::Access(std::unique_ptr<TokenFile> tokens, const Flags& flags)
    : tokens_(std::move(tokens)),
      authenticator_({.tokens = tokens_.get(),
                      .anyone = AnyoneOf(flags),
                      .tenant_by_address = flags.tenant_by == TenantBy::kAddress}) {}

Metrics::Authorize Access::scrapes() const {
  if (tokens_ == nullptr || !AnyHas(*tokens_->all(), Scope::kMetrics)) return nullptr;
  return [tokens = tokens_.get()](absl::string_view token) {
    const auto principal = tokens->OfToken(token);
    return principal != nullptr && principal->Has(Scope::kMetrics);
  };
}

std::vector<CallerGauges::Tenant> Access::TenantsOf(const WaitingQueue& queue) const {
  std::map<std::string, CallerGauges::Tenant> tenants;
  tenants[""];
  if (tokens_ != nullptr) {
    for (const Credential& credential : *tokens_->all()) tenants[credential.principal->tenant];
  }
  queue.ForEachTenant([&tenants](const std::string& name, const Tenant& tenant) {
    auto it = tenants.find(name);
    if (it == tenants.end()) it = tenants.find("");
    it->second.requests_waiting += static_cast<double>(tenant.waiting());
    it->second.waiting_bytes += static_cast<double>(tenant.waiting_bytes());
    it->second.chains_active += static_cast<double>(tenant.active());
  });
  std::vector<CallerGauges::Tenant> all;
  for (auto& [name, tenant] : tenants) {
    tenant.name = name;
    all.push_back(std::move(tenant));
  }
  return all;
}

void WarnOfOpenPort(const Flags& flags) {
  if (IsLoopback(flags.listen)) return;
  if (!flags.tls.enabled()) {
    spdlog::warn(
        "--listen {}: other machines reach it, without TLS: who is on the way reads and changes "
        "what is sent; give --tls-cert and --tls-key, unless a proxy or a network keeps others out",
        flags.listen);
  }
  if (flags.token_file.empty() && flags.tls.client_ca.empty()) {
    spdlog::warn(
        "--listen {}: other machines reach it, and it asks for no credentials: who reaches it may "
        "use it; give --token-file or --tls-client-ca, unless a proxy or a network keeps others "
        "out",
        flags.listen);
  }
}

}  // namespace denoise
