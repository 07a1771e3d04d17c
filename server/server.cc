#include "server/server.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/devices.h"
#include "server/engine/clock.h"
#include "server/engine/engine.h"
#include "server/engine/shutting_down.h"
#include "server/engine/waiting_queue.h"
#include "server/metrics/metrics.h"
#include "server/model/served_model.h"
#include "server/model/torch_runtime.h"
#include "server/replicas.h"
#include "server/rpc/catalog.h"
#include "server/rpc/diffusion_service.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/writer_pool.h"
#include "server/tuning_table.h"
#include "spdlog/spdlog.h"

namespace denoise {
namespace {

// The error of what a flag asked for.
absl::Status OfFlag(const char* flag, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(flag, ": ", status.message()));
}

absl::StatusOr<std::vector<ModelFolder>> Folders(const Flags& flags) {
  std::vector<ModelFolder> folders;
  for (const std::string& path : flags.models) folders.push_back({path, "", 1});
  if (!flags.model_repository.empty()) {
    auto found = FindModels(flags.model_repository);
    if (!found.ok()) return found.status();
    folders.insert(folders.end(), found->begin(), found->end());
  }
  return folders;
}

}  // namespace

// In the order in which they are made; destroyed the other way round.
struct Server::Parts {
  explicit Parts(const Flags& flags) : flags(flags), tuning_cache(flags.tune_cache) {}
  // A scrape may come while the queue goes.
  ~Parts() { metrics.SetRequestsWaiting(nullptr); }

  // A model that is examined, and not yet on the engines.
  struct Loaded {
    std::shared_ptr<ServedModel> model;
    double seconds = 0;  // that it took
  };

  // Loads, examines and tunes; before there are engines, which would disturb the measuring.
  absl::Status LoadModels(const std::vector<ModelFolder>& folders);
  absl::StatusOr<Loaded> LoadModel(const ModelFolder& folder, const LoadOptions& options);
  absl::Status StartEngines();
  absl::Status AddModel(const Loaded& loaded);
  absl::Status OpenPorts();

  const Flags flags;
  Devices devices;
  const TuningCache tuning_cache;
  std::vector<Loaded> models;
  SystemClock clock;
  Metrics metrics;
  Catalog catalog;
  std::unique_ptr<WaitingQueue> queue;
  std::vector<std::unique_ptr<Engine>> engines;
  std::unique_ptr<WriterPool> writers;
  std::unique_ptr<DiffusionService> service;
  std::unique_ptr<GrpcServer> grpc;
  int metrics_port = 0;
};

absl::Status Server::Parts::LoadModels(const std::vector<ModelFolder>& folders) {
  auto found = FindDevices(flags.devices);
  if (!found.ok()) return found.status();
  devices = *std::move(found);
  if (!devices.accelerators.empty()) PrepareAccelerators(flags.batch_invariant);
  LoadOptions options =
      OptionsOf(flags, devices, flags.tune_cache.empty() ? nullptr : &tuning_cache);
  for (const ModelFolder& folder : folders) {
    absl::StatusOr<Loaded> loaded = LoadModel(folder, options);
    if (!loaded.ok()) return loaded.status();
    const std::shared_ptr<const ModelInfo> info = loaded->model->info();
    for (const Loaded& other : models) {
      if (other.model->info()->name == info->name &&
          other.model->info()->version == info->version) {
        return absl::InvalidArgumentError(
            absl::StrCat(folder.path, ": the model ", info->name, " version ", info->version,
                         " is there twice: change the name in model.json or the version's folder"));
      }
    }
    if (models.empty()) FixReplicas(*info, &options);
    models.push_back(*std::move(loaded));
  }
  return absl::OkStatus();
}

absl::StatusOr<Server::Parts::Loaded> Server::Parts::LoadModel(const ModelFolder& folder,
                                                               const LoadOptions& options) {
  const SteadyTime begin = clock.Now();
  auto model = ServedModel::Load(folder, options);
  if (!model.ok()) return model.status();
  for (const std::string& remark : (*model)->remarks()) spdlog::info("{}", remark);
  if (absl::Status status = (*model)->Examine(); !status.ok()) return status;
  for (const std::string& warning : (*model)->warnings()) spdlog::warn("{}", warning);
  return Loaded{*std::move(model), SecondsBetween(begin, clock.Now())};
}

absl::Status Server::Parts::StartEngines() {
  const int replicas = models.empty() ? 1 : models[0].model->info()->replicas;
  const int threads = models.empty() ? 1 : models[0].model->info()->threads;
  WarnOfTooManyThreads(replicas, threads);
  Policy::Options policy;
  policy.order = flags.policy;
  // Of more than a year it is as much as never.
  policy.max_wait = std::chrono::nanoseconds(
      static_cast<int64_t>(std::min(flags.max_wait_seconds, 365.0 * 24 * 3600) * 1e9));
  queue = std::make_unique<WaitingQueue>(
      WaitingQueue::Options{.max_waiting = flags.max_waiting,
                            .max_waiting_per_tenant = flags.max_waiting_per_tenant,
                            .engines = replicas,
                            .policy = Policy(policy)});
  metrics.SetRequestsWaiting([this] { return static_cast<double>(queue->requests_waiting()); });
  for (int i = 0; i < replicas; ++i) {
    Engine::Options options;
    options.index = i;
    options.device = devices.label(i);
    options.batching = flags.batching;
    options.policy = Policy(policy);
    options.max_active = (flags.max_active + replicas - 1) / replicas;
    engines.push_back(std::make_unique<Engine>(options, queue.get(), &metrics, &clock));
    const absl::Status prepared = engines.back()->Run([threads] {
      PrepareEngineThread(threads);
      return absl::OkStatus();
    });
    if (!prepared.ok()) return prepared;
  }
  return absl::OkStatus();
}

absl::Status Server::Parts::AddModel(const Loaded& loaded) {
  const SteadyTime begin = clock.Now();
  for (size_t i = 0; i < engines.size(); ++i) {
    const absl::Status status = engines[i]->AddModel(
        [model = loaded.model, i] { return model->MakeExecutor(static_cast<int>(i)); });
    if (!status.ok()) return status;
  }
  const std::shared_ptr<const ModelInfo> info = loaded.model->info();
  const double seconds = loaded.seconds + SecondsBetween(begin, clock.Now());
  metrics.ModelLoaded(info->name, seconds);
  catalog.Add(info);
  spdlog::info(
      "model {} version {}: {}x{}x{}, {}, {}, {}, {} replicas of {} threads, batches of {} rows{}, "
      "numerics {}, loaded in {:.1f} s\n{}",
      info->name, info->version, info->shape.channels, info->shape.height, info->shape.width,
      std::string(Name(info->config.prediction)), info->precision, info->layout, info->replicas,
      info->threads, absl::StrJoin(info->batch_sizes, ", "),
      info->batch_invariant ? ", which agree bit for bit" : "", info->numerics_id, seconds,
      TuningTable(*info));
  return absl::OkStatus();
}

absl::Status Server::Parts::OpenPorts() {
  WriterPool::Options writer_options;
  writer_options.write_timeout =
      std::chrono::nanoseconds(static_cast<int64_t>(flags.write_timeout_seconds * 1e9));
  writers = std::make_unique<WriterPool>(writer_options);

  Backend backend;
  backend.catalog = &catalog;
  backend.queue = queue.get();
  backend.writers = writers.get();
  backend.metrics = &metrics;
  backend.clock = &clock;
  backend.limits = {flags.max_samples, flags.max_message_bytes, flags.max_state_bytes};
  backend.wake_engines = [this] {
    for (const auto& engine : engines) engine->Wake();
  };
  size_t largest_batch = 1;
  for (const auto& model : catalog.All()) {
    largest_batch = std::max<size_t>(largest_batch, model->batch_sizes.back());
  }
  const size_t room = std::min<size_t>(largest_batch * engines.size(), flags.max_active);
  backend.rows_ahead = [this, room]() -> uint64_t {
    size_t chains = 0;
    uint64_t rows = 0;
    for (const auto& engine : engines) {
      chains += engine->chains_active();
      rows += engine->rows_left();
    }
    return chains < room ? 0 : rows;
  };
  service = std::make_unique<DiffusionService>(std::move(backend));

  if (!flags.metrics_listen.empty()) {
    auto port = metrics.Listen(flags.metrics_listen);
    if (!port.ok()) return OfFlag("--metrics-listen", port.status());
    metrics_port = *port;
  }
  GrpcServer::Options options;
  options.address = flags.listen;
  options.max_message_bytes = flags.max_message_bytes;
  auto started = GrpcServer::Start(options, service.get());
  if (!started.ok()) return OfFlag("--listen", started.status());
  grpc = *std::move(started);
  for (const auto& model : catalog.All()) grpc->SetModelServing(model->name, true);
  grpc->SetServing(true);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Flags& flags) {
  auto folders = Folders(flags);
  if (!folders.ok()) return folders.status();
  auto parts = std::make_unique<Parts>(flags);
  if (absl::Status status = parts->LoadModels(*folders); !status.ok()) return status;
  if (absl::Status status = parts->StartEngines(); !status.ok()) return status;
  for (const Parts::Loaded& loaded : parts->models) {
    if (absl::Status status = parts->AddModel(loaded); !status.ok()) return status;
  }
  if (absl::Status status = parts->OpenPorts(); !status.ok()) return status;
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() { Stop(); }

std::string Server::ready_line() const {
  const auto with_port = [](const std::string& address, int port) {
    return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
  };
  std::string line =
      absl::StrCat("denoised: ready grpc=", with_port(parts_->flags.listen, parts_->grpc->port()));
  if (!parts_->flags.metrics_listen.empty()) {
    absl::StrAppend(&line,
                    " metrics=", with_port(parts_->flags.metrics_listen, parts_->metrics_port));
  }
  for (const auto& model : parts_->catalog.All()) absl::StrAppend(&line, " model=", model->name);
  return line;
}

void Server::StopAdmitting() {
  parts_->grpc->SetServing(false);
  for (const auto& model : parts_->catalog.All()) {
    parts_->grpc->SetModelServing(model->name, false);
  }
  parts_->service->Drain();
  parts_->queue->Close();
}

int Server::calls_in_flight() const { return parts_->service->calls_in_flight(); }

void Server::Stop() {
  StopAdmitting();
  // Engines first: what still runs ends with UNAVAILABLE by them, and not as cancelled by gRPC.
  for (const auto& engine : parts_->engines) engine->Stop();
  for (const auto& request : parts_->queue->TakeAll()) {
    request->stream->Fail(ShuttingDownError());
  }
  parts_->grpc->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
}

}  // namespace denoise
