// The models of the process: put on the engines, into the catalog, and taken out again.
#ifndef DENOISE_SERVER_MODEL_MANAGER_H_
#define DENOISE_SERVER_MODEL_MANAGER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/clock.h"
#include "server/engine/engine.h"
#include "server/metrics/metrics.h"
#include "server/model/served_model.h"
#include "server/rpc/catalog.h"
#include "server/rpc/model_admin_service.h"
#include "server/task_thread.h"

namespace denoise {

// A model that is examined, and not yet on the engines.
struct LoadedModel {
  std::shared_ptr<ServedModel> model;
  ModelFolder folder;
  double seconds = 0;  // that it took
};

// Loads and examines the model of a folder, and says in the log what there is to say of it.
absl::StatusOr<LoadedModel> LoadExamined(const ModelFolder& folder, const LoadOptions& options,
                                         const Clock& clock);

// Add before there is traffic, by one thread; ModelLifecycle's functions from any thread. Load,
// Unload and Reload are done on a thread of the manager's own, one after another.
//
// What the catalog gives to requests is a lease on a model: where the last one has ended after the
// model was taken out of the catalog, the model leaves the engines. So nothing counts requests, and
// a chain ends on the model that it began with.
class ModelManager final : public ModelLifecycle {
 public:
  // All of it outlives the manager.
  struct Host {
    Catalog* catalog = nullptr;
    std::vector<Engine*> engines;
    Metrics* metrics = nullptr;
    const Clock* clock = nullptr;
    // What grpc.health.v1 says of a model; not called before the first Load.
    std::function<void(const std::string& model, bool serving)> set_serving;
  };

  // `options`: of models that are loaded while others are served, for which nothing is tuned.
  // `repository`: where Load looks for them; empty: nowhere.
  ModelManager(Host host, LoadOptions options, std::string repository);
  // Stops.
  ~ModelManager() override;

  // Puts the model on every engine and into the catalog.
  absl::Status Add(const LoadedModel& loaded);

  void Load(const std::string& name, int64_t version, Done done) override;
  void Unload(const std::string& name, int64_t version, Done done) override;
  void Reload(const std::string& name, int64_t version, Done done) override;

  // From now on no model is said to serve, and a load that is under way ends with UNAVAILABLE at
  // its next call of the model. Does not wait.
  void StopLoading() { stopping_.store(true); }
  // StopLoading(), and answers what is not done yet with UNAVAILABLE. Before the engines stop.
  void Stop();

 private:
  class Answer;
  using Key = std::pair<std::string, int64_t>;

  absl::StatusOr<ModelFolder> FolderOf(const std::string& name, int64_t version) const;
  absl::StatusOr<CatalogEntry> LoadNow(const std::string& name, int64_t version);
  absl::StatusOr<CatalogEntry> ReloadNow(const std::string& name, int64_t version);
  // Loads under traffic: every call of the model between two ticks of an engine.
  absl::StatusOr<LoadedModel> LoadFolder(const ModelFolder& folder);
  // Carries calls of a model to that engine, until loading is to stop.
  Carrier CarrierTo(Engine* engine) const;
  void Drain(const CatalogEntry& entry, std::shared_ptr<Answer> answer);
  std::shared_ptr<const ModelInfo> Lease(std::shared_ptr<const ModelInfo> model);
  // The last lease of it has ended.
  void Retire(const std::shared_ptr<const ModelInfo>& model);
  void TellHealth(const std::string& name);

  const Host host_;
  const LoadOptions options_;
  const std::string repository_;
  std::atomic<bool> stopping_{false};

  // Of the manager's thread, and of Add before.
  std::map<Key, ModelFolder> folders_;                     // of what is served
  std::map<uint64_t, std::shared_ptr<Answer>> unloading_;  // by ModelInfo::id

  // Shared with the leases, which may outlive the manager.
  const std::shared_ptr<TaskThread> thread_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_MANAGER_H_
