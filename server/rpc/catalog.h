// The models that are served, by name and version.
#ifndef DENOISE_SERVER_RPC_CATALOG_H_
#define DENOISE_SERVER_RPC_CATALOG_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/model_info.h"
#include "server/engine/mutex.h"

namespace denoise {

// kLoading: known, not yet to be sampled from. kDraining: running chains end, nothing new begins.
enum class ModelStatus { kLoading, kServing, kDraining };

struct CatalogEntry {
  std::shared_ptr<const ModelInfo> model;
  ModelStatus status = ModelStatus::kServing;
};

// Thread-safe.
class Catalog {
 public:
  // Adds the model, or replaces the one of its name and version.
  void Add(std::shared_ptr<const ModelInfo> model, ModelStatus status = ModelStatus::kServing);
  // Takes out the model of that name and version, if it is there.
  void Remove(const std::string& name, int64_t version);

  // The model called `name` (empty: the only name there is) with this version (0: the newest of
  // those that are served, else the newest). NOT_FOUND, saying what there is; a FieldError "model"
  // for an empty name where there are several, "model_version" for a negative version.
  absl::StatusOr<CatalogEntry> Find(absl::string_view name, int64_t version) const;

  // Find() for work: also UNAVAILABLE (MODEL_LOADING, DRAINING) for a model that is not served.
  absl::StatusOr<std::shared_ptr<const ModelInfo>> FindServing(absl::string_view name,
                                                               int64_t version) const;

  // By name, then version.
  std::vector<CatalogEntry> Entries() const;
  std::vector<std::shared_ptr<const ModelInfo>> All() const;

 private:
  using Key = std::pair<std::string, int64_t>;
  std::string Names() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<Key, CatalogEntry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_CATALOG_H_
