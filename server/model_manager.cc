#include "server/model_manager.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/diffusion/scheduler_config.h"
#include "server/engine/shutting_down.h"
#include "server/model/runtime/allocator.h"
#include "server/tuning_table.h"
#include "spdlog/spdlog.h"

namespace denoise {

// Of one operation: given once, at the latest when nobody is left who could.
class ModelManager::Answer {
 public:
  explicit Answer(Done done) : done_(std::move(done)) {}
  ~Answer() { Give(ShuttingDownError()); }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  void Give(absl::StatusOr<CatalogEntry> entry) {
    if (Done done = std::exchange(done_, nullptr)) done(std::move(entry));
  }

 private:
  Done done_;
};

absl::StatusOr<LoadedModel> LoadExamined(const ModelFolder& folder, const LoadOptions& options,
                                         const Clock& clock) {
  const SteadyTime begin = clock.Now();
  auto model = ServedModel::Load(folder, options);
  if (!model.ok()) return model.status();
  for (const std::string& remark : (*model)->remarks()) spdlog::info("{}", remark);
  if (absl::Status status = (*model)->Examine(); !status.ok()) return status;
  for (const std::string& warning : (*model)->warnings())
    spdlog::warn("{}: {}", folder.path, warning);
  return LoadedModel{*std::move(model), folder, SecondsBetween(begin, clock.Now())};
}

ModelManager::ModelManager(Host host, LoadOptions options, std::string repository)
    : host_(std::move(host)),
      options_(std::move(options)),
      repository_(std::move(repository)),
      thread_(std::make_shared<TaskThread>()) {}

ModelManager::~ModelManager() { Stop(); }

void ModelManager::Stop() {
  StopLoading();
  thread_->Stop();
  unloading_.clear();
}

void ModelManager::Load(const std::string& name, int64_t version, Done done) {
  auto answer = std::make_shared<Answer>(std::move(done));
  thread_->Post([this, name, version, answer] { answer->Give(LoadNow(name, version)); });
}

void ModelManager::Unload(const std::string& name, int64_t version, Done done) {
  auto answer = std::make_shared<Answer>(std::move(done));
  thread_->Post([this, name, version, answer] {
    const absl::StatusOr<CatalogEntry> entry = host_.catalog->Find(name, version);
    if (!entry.ok()) return answer->Give(entry.status());
    if (entry->status != ModelStatus::kServing) {
      return answer->Give(absl::FailedPreconditionError(
          absl::StrCat("model: ", entry->model->name, " version ", entry->model->version,
                       " is being unloaded already")));
    }
    Drain(*entry, answer);
  });
}

void ModelManager::Reload(const std::string& name, int64_t version, Done done) {
  auto answer = std::make_shared<Answer>(std::move(done));
  thread_->Post([this, name, version, answer] { answer->Give(ReloadNow(name, version)); });
}

absl::StatusOr<ModelFolder> ModelManager::FolderOf(const std::string& name, int64_t version) const {
  if (repository_.empty()) {
    return absl::FailedPreconditionError(
        "the server was started without --model-repository, from which models are loaded");
  }
  absl::StatusOr<std::vector<ModelFolder>> folders = FindModels(repository_);
  if (!folders.ok()) return folders.status();
  const ModelFolder* found = nullptr;
  std::vector<std::string> there;
  for (const ModelFolder& folder : *folders) {
    there.push_back(absl::StrCat(folder.name, " version ", folder.version));
    if (folder.name != name || (version != 0 && folder.version != version)) continue;
    if (found == nullptr || folder.version > found->version) found = &folder;
  }
  if (found != nullptr) return *found;
  return absl::NotFoundError(
      absl::StrCat("model: ", name.empty() ? "no name" : name,
                   version == 0 ? std::string() : absl::StrCat(" version ", version),
                   " is not in the repository; there is ", absl::StrJoin(there, ", ")));
}

absl::StatusOr<CatalogEntry> ModelManager::LoadNow(const std::string& name, int64_t version) {
  const absl::StatusOr<ModelFolder> folder = FolderOf(name, version);
  if (!folder.ok()) return folder.status();
  for (const CatalogEntry& entry : host_.catalog->Entries()) {
    if (entry.model->name != folder->name || entry.model->version != folder->version) continue;
    if (entry.status == ModelStatus::kServing) {
      return absl::AlreadyExistsError(
          absl::StrCat("model: ", folder->name, " version ", folder->version,
                       " is served already; ReloadModel loads it again"));
    }
    return absl::UnavailableError(absl::StrCat("model: ", folder->name, " version ",
                                               folder->version,
                                               " is being unloaded: try again in a moment"));
  }
  const absl::StatusOr<LoadedModel> loaded = LoadFolder(*folder);
  if (!loaded.ok()) return loaded.status();
  if (absl::Status status = Add(*loaded); !status.ok()) return status;
  TellHealth(folder->name);
  return host_.catalog->Find(folder->name, folder->version);
}

absl::StatusOr<CatalogEntry> ModelManager::ReloadNow(const std::string& name, int64_t version) {
  absl::StatusOr<Key> key = [&]() -> absl::StatusOr<Key> {
    const absl::StatusOr<CatalogEntry> entry = host_.catalog->Find(name, version);
    if (!entry.ok()) return entry.status();
    if (entry->status != ModelStatus::kServing) {
      return absl::UnavailableError(absl::StrCat("model: ", entry->model->name, " version ",
                                                 entry->model->version, " is being unloaded"));
    }
    return Key(entry->model->name, entry->model->version);
  }();
  if (!key.ok()) return key.status();
  const absl::StatusOr<LoadedModel> loaded = LoadFolder(folders_.at(*key));
  if (!loaded.ok()) return loaded.status();
  const std::shared_ptr<const ModelInfo> info = loaded->model->info();
  if (Key(info->name, info->version) != *key) {
    return absl::FailedPreconditionError(
        absl::StrCat("model: the folder's model.json now names it ", info->name, ", where ",
                     key->first, " is served from it: change the name back"));
  }
  // Takes the old one's place in the catalog, and so ends its lease there.
  if (absl::Status status = Add(*loaded); !status.ok()) return status;
  return host_.catalog->Find(key->first, key->second);
}

absl::StatusOr<LoadedModel> ModelManager::LoadFolder(const ModelFolder& folder) {
  LoadOptions options = options_;
  // All calls of the examination on one engine: what holds there holds on the others.
  options.carrier = CarrierTo(host_.engines.front());
  const SteadyTime begin = host_.clock->Now();
  absl::StatusOr<LoadedModel> loaded = LoadExamined(folder, options, *host_.clock);
  // The examination takes a call that is not carried for one that fails.
  if (!loaded.ok()) return stopping_.load() ? ShuttingDownError() : loaded.status();
  for (size_t i = 0; i < host_.engines.size(); ++i) {
    const absl::Status warm = loaded->model->Warm(CarrierTo(host_.engines[i]), static_cast<int>(i));
    if (!warm.ok()) return warm;
  }
  if (stopping_.load()) return ShuttingDownError();
  loaded->seconds = SecondsBetween(begin, host_.clock->Now());
  return loaded;
}

Carrier ModelManager::CarrierTo(Engine* engine) const {
  return [this, engine](const ModelCall& call) -> absl::Status {
    if (stopping_.load()) return ShuttingDownError();
    return engine->Run(call);
  };
}

absl::Status ModelManager::Add(const LoadedModel& loaded) {
  const SteadyTime begin = host_.clock->Now();
  const std::shared_ptr<const ModelInfo> info = loaded.model->info();
  for (size_t i = 0; i < host_.engines.size(); ++i) {
    const absl::Status status = host_.engines[i]->AddModel(
        [model = loaded.model, i] { return model->MakeExecutor(static_cast<int>(i)); });
    if (!status.ok()) {
      // Those that have it already; the others say NOT_FOUND.
      for (Engine* other : host_.engines) other->RemoveModel(info->id).IgnoreError();
      return status;
    }
  }
  std::string decoder;
  if (info->decoder.has_value()) {
    const SampleShape& shape = info->decoder->format.shape;
    decoder = absl::StrCat(" decoded to ", shape.channels, "x", shape.height, "x", shape.width);
  }
  const double seconds = loaded.seconds + SecondsBetween(begin, host_.clock->Now());
  folders_.insert_or_assign(Key(info->name, info->version), loaded.folder);
  host_.metrics->ModelLoaded(info->name, seconds);
  host_.catalog->Add(Lease(info));
  spdlog::info(
      "model {} version {}: {}x{}x{}{}, {}, {}, {}, {} replicas of {} threads, batches of {} "
      "rows{}, "
      "numerics {}, loaded in {:.1f} s",
      info->name, info->version, info->shape.channels, info->shape.height, info->shape.width,
      decoder, std::string(Name(info->config.prediction)), info->precision, info->layout,
      info->replicas, info->threads, absl::StrJoin(info->batch_sizes, ", "),
      info->batch_invariant ? ", which agree bit for bit" : "", info->numerics_id, seconds);
  // A line of the log is one event.
  for (const absl::string_view line : absl::StrSplit(TuningTable(*info), '\n')) {
    spdlog::info("{}", std::string(line));
  }
  return absl::OkStatus();
}

void ModelManager::Drain(const CatalogEntry& entry, std::shared_ptr<Answer> answer) {
  // Without a lease: this entry keeps nothing on the engines.
  auto model = std::make_shared<const ModelInfo>(*entry.model);
  unloading_.emplace(model->id, std::move(answer));
  host_.catalog->Add(model, ModelStatus::kDraining);
  TellHealth(model->name);
  spdlog::info("model {} version {}: unloading", model->name, model->version);
}

std::shared_ptr<const ModelInfo> ModelManager::Lease(std::shared_ptr<const ModelInfo> model) {
  const ModelInfo* const info = model.get();
  return std::shared_ptr<const ModelInfo>(
      info, [this, thread = std::weak_ptr<TaskThread>(thread_),
             model = std::move(model)](const ModelInfo*) mutable {
        const auto alive = thread.lock();
        if (alive) alive->Post([this, model = std::move(model)] { Retire(model); });
      });
}

void ModelManager::Retire(const std::shared_ptr<const ModelInfo>& model) {
  for (Engine* engine : host_.engines) {
    if (absl::Status status = engine->RemoveModel(model->id); !status.ok()) {
      spdlog::warn("model {} version {}: stays on an engine: {}", model->name, model->version,
                   std::string(status.message()));
    }
  }
  ReleaseFreeMemory();
  spdlog::info("model {} version {}: the last of its requests has ended, and it has gone",
               model->name, model->version);
  const auto unloading = unloading_.find(model->id);
  if (unloading == unloading_.end()) return;  // another has its place
  host_.catalog->Remove(model->name, model->version);
  folders_.erase({model->name, model->version});
  unloading->second->Give(CatalogEntry{model, ModelStatus::kDraining});
  unloading_.erase(unloading);
}

void ModelManager::TellHealth(const std::string& name) {
  const std::vector<CatalogEntry> entries = host_.catalog->Entries();
  host_.set_serving(name, std::any_of(entries.begin(), entries.end(), [&](const auto& entry) {
                      return entry.model->name == name && entry.status == ModelStatus::kServing;
                    }));
  // A server that stops says so of all models in the catalog after it has called StopLoading(); of
  // one that came into it later it is said here.
  if (stopping_.load()) host_.set_serving(name, false);
}

}  // namespace denoise
