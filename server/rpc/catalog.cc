#include "server/rpc/catalog.h"

#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/field_error.h"
#include "server/rpc/messages/text.h"
#include "server/rpc/status.h"

namespace denoise {

void Catalog::Add(std::shared_ptr<const ModelInfo> model, ModelStatus status) {
  Key key(model->name, model->version);
  MutexLock lock(mutex_);
  entries_[std::move(key)] = {std::move(model), status};
}

void Catalog::Remove(const std::string& name, int64_t version) {
  MutexLock lock(mutex_);
  entries_.erase({name, version});
}

absl::StatusOr<CatalogEntry> Catalog::Find(absl::string_view name, int64_t version) const {
  if (version < 0) {
    return FieldError("model_version",
                      absl::StrCat(version, " is negative; give a version, or 0 for the newest"));
  }
  MutexLock lock(mutex_);
  if (entries_.empty()) return absl::NotFoundError("model: no model is served here");
  std::string wanted(name);
  if (wanted.empty()) {
    wanted = entries_.begin()->first.first;
    if (wanted != entries_.rbegin()->first.first) {
      return FieldError(
          "model", absl::StrCat("empty, where several models are served; name one of ", Names()));
    }
  }
  std::vector<int64_t> versions;
  const CatalogEntry* found = nullptr;
  for (auto it = entries_.lower_bound({wanted, 0});
       it != entries_.end() && it->first.first == wanted; ++it) {
    const CatalogEntry& entry = it->second;
    versions.push_back(it->first.second);
    // Later ones are newer; one that is served is not given up for one that is not.
    const bool newest = version == 0 && (!found || found->status != ModelStatus::kServing ||
                                         entry.status == ModelStatus::kServing);
    if (newest || it->first.second == version) found = &entry;
  }
  if (found != nullptr) return *found;
  if (versions.empty()) {
    return absl::NotFoundError(
        absl::StrCat("model: ", Quote(wanted), " is not served here; there is ", Names()));
  }
  return absl::NotFoundError(absl::StrCat("model_version: ", version, " of ", Quote(wanted),
                                          " is not served here; there is ",
                                          absl::StrJoin(versions, ", "), ", or 0 for the newest"));
}

absl::StatusOr<std::shared_ptr<const ModelInfo>> Catalog::FindServing(absl::string_view name,
                                                                      int64_t version) const {
  absl::StatusOr<CatalogEntry> entry = Find(name, version);
  if (!entry.ok()) return entry.status();
  switch (entry->status) {
    case ModelStatus::kServing:
      break;
    case ModelStatus::kLoading:
      return WithReason(
          absl::UnavailableError(absl::StrCat("model: ", Quote(entry->model->name),
                                              " is being loaded: try again in a moment")),
          kModelLoading);
    case ModelStatus::kDraining:
      return WithReason(
          absl::UnavailableError(absl::StrCat("model: ", Quote(entry->model->name),
                                              " is being unloaded: use another server")),
          kDraining);
  }
  return entry->model;
}

std::vector<CatalogEntry> Catalog::Entries() const {
  std::vector<CatalogEntry> entries;
  MutexLock lock(mutex_);
  for (const auto& [key, entry] : entries_) entries.push_back(entry);
  return entries;
}

std::vector<std::shared_ptr<const ModelInfo>> Catalog::All() const {
  std::vector<std::shared_ptr<const ModelInfo>> models;
  MutexLock lock(mutex_);
  for (const auto& [key, entry] : entries_) models.push_back(entry.model);
  return models;
}

std::string Catalog::Names() const {
  std::set<std::string> names;
  for (const auto& [key, entry] : entries_) names.insert(Quote(key.first));
  return absl::StrJoin(names, ", ");
}

}  // namespace denoise
