#include "server/server.h"

#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/access.h"
#include "server/descriptors.h"
#include "server/devices.h"
#include "server/engine/chain_exchange.h"
#include "server/engine/clock.h"
#include "server/engine/engine.h"
#include "server/engine/memory_budget.h"
#include "server/engine/shutting_down.h"
#include "server/engine/waiting_queue.h"
#include "server/memory_watch.h"
#include "server/metrics/metrics.h"
#include "server/model/runtime/allocator.h"
#include "server/model/runtime/memory.h"
#include "server/model/runtime/torch_runtime.h"
#include "server/model/served_model.h"
#include "server/model_manager.h"
#include "server/replicas.h"
#include "server/rpc/catalog.h"
#include "server/rpc/diffusion_service.h"
#include "server/rpc/grpc_server.h"
#include "server/rpc/inference/inference_service.h"
#include "server/rpc/writer_pool.h"
#include "server/watchdog.h"
#include "spdlog/spdlog.h"

namespace denoise {
namespace {

constexpr uint32_t kAdminConnections = 32;

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
  // A scrape may come while the queue is destroyed.
  ~Parts() {
    metrics.SetRequestsWaiting(nullptr);
    metrics.SetMemory(nullptr);
    metrics.SetCallers(nullptr);
  }

  absl::Status CheckDescriptors();
  absl::Status CheckCredentials();
  // Loads, examines and tunes; before there are engines, which would disturb the measuring.
  absl::Status LoadModels(const std::vector<ModelFolder>& folders);
  absl::Status StartEngines();
  absl::Status StartManager();
  absl::Status OpenPorts();
  absl::Status OpenAdminPort();
  CallerGauges ReadCallers() const;
  void StartWatchdog();
  void WatchMemory();
  // What health says of the server and of each model.
  void SayServing(bool serving);

  const Flags flags;
  uint32_t max_connections = 0;  // of callers
  Devices devices;
  const TuningCache tuning_cache;
  LoadOptions load_options;  // of the models after the first
  std::vector<LoadedModel> models;
  SystemClock clock;
  Metrics metrics;
  std::unique_ptr<Access> access;
  std::unique_ptr<MemoryBudget> memory;
  std::unique_ptr<Reception> reception;
  std::unique_ptr<Reception> admin_reception;
  Catalog catalog;
  std::unique_ptr<WaitingQueue> queue;
  std::unique_ptr<ChainExchange> exchange;
  std::vector<std::unique_ptr<Engine>> engines;
  std::unique_ptr<ModelManager> manager;
  std::unique_ptr<DiffusionService> service;
  std::unique_ptr<InferenceService> inference;
  std::unique_ptr<WriterPool> writers;  // may hold the last of a call, which uses its service
  std::unique_ptr<GrpcServer> grpc;
  std::unique_ptr<ModelAdminService> admin;
  std::unique_ptr<GrpcServer> admin_grpc;
  int metrics_port = 0;
  std::atomic<bool> draining{false};
  std::unique_ptr<MemoryWatch> memory_watch;
  std::unique_ptr<Watchdog> watchdog;  // also while the engines are joined
};

absl::Status Server::Parts::CheckDescriptors() {
  const uint64_t descriptors = RaiseDescriptorLimit();
  const uint64_t regions = flags.shared_memory ? flags.max_regions : 0;  // each is an open file
  const auto connections = ConnectionsWithin(descriptors - std::min(descriptors, regions),
                                             flags.connections.max_connections);
  if (!connections.ok()) return connections.status();
  max_connections = *connections;
  if (max_connections < flags.connections.max_connections) {
    spdlog::warn(
        "--max-connections is {}, but {} descriptors allow {}: raise their limit "
        "(ulimit -Hn)",
        flags.connections.max_connections, descriptors, max_connections);
  }
  return absl::OkStatus();
}

// Before the models are loaded, which takes longer.
absl::Status Server::Parts::CheckCredentials() {
  if (absl::Status status = CheckCertificateFiles(flags.tls); !status.ok()) return status;
  auto opened = Access::Open(flags, &clock);
  if (!opened.ok()) return opened.status();
  access = *std::move(opened);
  return absl::OkStatus();
}

absl::Status Server::Parts::LoadModels(const std::vector<ModelFolder>& folders) {
  auto found = PrepareDevices(flags);
  if (!found.ok()) return found.status();
  devices = *std::move(found);
  LoadOptions& options = load_options;
  options = OptionsOf(flags, devices, flags.tune_cache.empty() ? nullptr : &tuning_cache);
  for (const ModelFolder& folder : folders) {
    absl::StatusOr<LoadedModel> loaded = LoadExamined(folder, options, clock);
    if (!loaded.ok()) return loaded.status();
    const std::shared_ptr<const ModelInfo> info = loaded->model->info();
    for (const LoadedModel& other : models) {
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

absl::Status Server::Parts::StartEngines() {
  const int replicas = models.empty() ? 1 : models[0].model->info()->replicas;
  const int threads = models.empty() ? 1 : models[0].model->info()->threads;
  WarnOfTooManyThreads(replicas, threads);
  Policy::Options policy;
  policy.order = flags.policy;
  policy.max_wait = Nanoseconds(flags.max_wait_seconds);
  // A quarter for active chains and a quarter for what requests bring and leave; models, batches
  // and states that wait for readers have the rest.
  const uint64_t max_bytes = UsableMemory() / 4;
  memory =
      std::make_unique<MemoryBudget>(flags.memory_budget > 0 ? flags.memory_budget : max_bytes);
  spdlog::info("active chains may hold {} MiB, messages, requests and results {} MiB",
               max_bytes >> 20, memory->limit() >> 20);
  metrics.SetMemory([this] {
    return MemoryGauges{.messages = static_cast<double>(memory->used(MemoryBudget::kMessages)),
                        .requests = static_cast<double>(memory->used(MemoryBudget::kRequests)),
                        .results = static_cast<double>(memory->used(MemoryBudget::kResults)),
                        .limit = static_cast<double>(memory->limit())};
  });
  queue = std::make_unique<WaitingQueue>(
      WaitingQueue::Options{.max_waiting = flags.max_waiting,
                            .max_bytes = max_bytes,
                            .max_backlog = Nanoseconds(flags.max_backlog_seconds),
                            .engines = replicas,
                            .policy = Policy(policy)});
  metrics.SetRequestsWaiting([this] { return static_cast<double>(queue->requests_waiting()); });
  exchange = std::make_unique<ChainExchange>(replicas);
  for (int i = 0; i < replicas; ++i) {
    Engine::Options options;
    options.exchange = exchange.get();
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

absl::Status Server::Parts::StartManager() {
  ModelManager::Host host;
  host.catalog = &catalog;
  for (const auto& engine : engines) host.engines.push_back(engine.get());
  host.metrics = &metrics;
  host.clock = &clock;
  host.set_serving = [this](const std::string& model, bool serving) {
    grpc->SetModelServing(model, serving);
  };
  manager = std::make_unique<ModelManager>(std::move(host), load_options, flags.model_repository);
  for (const LoadedModel& loaded : models) {
    if (absl::Status status = manager->Add(loaded); !status.ok()) return status;
  }
  models.clear();  // the manager's from here on, and gone when they are unloaded
  return absl::OkStatus();
}

absl::Status Server::Parts::OpenPorts() {
  WriterPool::Options writer_options;
  if (flags.write_timeout_seconds > 0) {
    writer_options.write_timeout = Nanoseconds(flags.write_timeout_seconds);
  } else {
    writer_options.write_timeout = std::chrono::hours(365 * 24);  // no limit
  }
  writers = std::make_unique<WriterPool>(writer_options);

  Reception::Options reception_options;
  reception_options.authenticator = &access->authenticator();
  reception_options.max_message_bytes = flags.max_message_bytes;
  reception_options.max_receive_bytes = std::max(flags.max_receive_bytes, flags.max_message_bytes);
  reception_options.memory = memory.get();
  reception_options.metrics = &metrics;
  reception_options.clock = &clock;
  reception = std::make_unique<Reception>(reception_options);

  Backend backend;
  backend.reception = reception.get();
  backend.memory = memory.get();
  backend.catalog = &catalog;
  backend.queue = queue.get();
  backend.writers = writers.get();
  backend.metrics = &metrics;
  backend.clock = &clock;
  backend.limits = {flags.max_samples, flags.max_message_bytes, flags.max_state_bytes};
  backend.wake_engines = [this] {
    for (const auto& engine : engines) engine->Wake();
  };
  backend.rows_ahead = [this]() -> uint64_t {
    size_t largest_batch = 1;
    for (const auto& model : catalog.All()) {
      largest_batch = std::max<size_t>(largest_batch, model->batch_sizes.back());
    }
    size_t chains = 0;
    uint64_t rows = 0;
    for (const auto& engine : engines) {
      chains += engine->chains_active();
      rows += engine->rows_left();
    }
    const size_t room = std::min<size_t>(largest_batch * engines.size(), flags.max_active);
    return chains < room ? 0 : rows;
  };
  inference =
      std::make_unique<InferenceService>(backend, flags.shared_memory ? flags.max_regions : 0);
  service = std::make_unique<DiffusionService>(std::move(backend));

  if (!flags.metrics_listen.empty()) {
    auto port = metrics.Listen(flags.metrics_listen, access->scrapes());
    if (!port.ok()) return OfFlag("--metrics-listen", port.status());
    metrics_port = *port;
  }
  GrpcServer::Options options;
  options.address = flags.listen;
  options.max_message_bytes = flags.max_message_bytes;
  options.reception = reception.get();
  options.tls = flags.tls;
  options.authenticator = access->required();
  options.connections = flags.connections;
  options.connections.max_connections = max_connections;
  options.on_refused = [this](const absl::Status& status) {
    reception->RecordRefused(reception->NewRecord("other"), status);
  };
  auto started = GrpcServer::Start(options, {service.get(), inference.get()});
  if (!started.ok()) return OfFlag("--listen", started.status());
  grpc = *std::move(started);
  metrics.AddPort("grpc", grpc->connections());
  if (!flags.admin_listen.empty()) {
    if (absl::Status status = OpenAdminPort(); !status.ok()) return status;
  }
  metrics.SetCallers([this] { return ReadCallers(); });
  WarnOfOpenPort(flags);
  SayServing(true);
  return absl::OkStatus();
}

CallerGauges Server::Parts::ReadCallers() const {
  return {.tenants = access->TenantsOf(*queue),
          .token_file_stale = access->stale(),
          .admin_operations = admin == nullptr ? 0.0 : admin->operations(),
          .shared_memory_regions = static_cast<double>(inference->regions())};
}

void Server::Parts::SayServing(bool serving) {
  grpc->SetServing(serving);
  for (const auto& model : catalog.All()) grpc->SetModelServing(model->name, serving);
}

void Server::Parts::StartWatchdog() {
  if (flags.watchdog_seconds <= 0) return;
  Watchdog::Options options;
  options.limit = Nanoseconds(flags.watchdog_seconds);
  for (size_t i = 0; i < engines.size(); ++i) {
    options.engines.push_back({devices.label(static_cast<int>(i)),
                               [engine = engines[i].get()] { return engine->busy_since(); }});
  }
  options.clock = &clock;
  options.on_change = [this](bool hangs) {
    SayServing(!hangs);
    if (draining.load()) SayServing(false);  // and not the other way round: it may begin in between
  };
  // Without destructors, which would wait for the engine.
  options.on_end = [] {
    spdlog::default_logger()->flush();
    _exit(EX_SOFTWARE);
  };
  watchdog = std::make_unique<Watchdog>(std::move(options));
}

// After the port for callers, of whose health its operations tell.
absl::Status Server::Parts::OpenAdminPort() {
  Reception::Options reception_options;
  reception_options.authenticator = &access->authenticator();
  reception_options.scope = Scope::kAdmin;
  reception_options.memory = memory.get();
  reception_options.metrics = &metrics;
  reception_options.clock = &clock;
  admin_reception = std::make_unique<Reception>(reception_options);
  admin = std::make_unique<ModelAdminService>(
      ModelAdminService::Options{.models = manager.get(),
                                 .reception = admin_reception.get(),
                                 .clock = &clock,
                                 .max_operations = flags.max_admin_operations});
  GrpcServer::Options options;
  options.address = flags.admin_listen;
  options.connections = flags.connections;
  options.connections.max_connections = kAdminConnections;
  options.reception = admin_reception.get();
  // Without credentials it is of this machine alone, and speaks plain HTTP/2.
  options.authenticator = access->required();
  if (options.authenticator != nullptr) options.tls = flags.tls;
  auto started = GrpcServer::Start(options, {admin.get()});
  if (!started.ok()) return OfFlag("--admin-listen", started.status());
  admin_grpc = *std::move(started);
  metrics.AddPort("admin", admin_grpc->connections());
  admin_grpc->SetServing(true);
  spdlog::info("ModelAdmin on {}:{}", flags.admin_listen.substr(0, flags.admin_listen.rfind(':')),
               admin_grpc->port());
  return absl::OkStatus();
}

void Server::Parts::WatchMemory() {
  memory_watch = std::make_unique<MemoryWatch>(MemoryWatch::Options{
      .limit = UsableMemory(),
      .held = HeldMemory,
      .release_free = ReleaseFreeMemory,
      .refuse = [this](bool full) { queue->SetMemoryFull(full); },
      .shed =
          [this] {
            const std::shared_ptr<const Request> largest = queue->TakeLargest();
            if (largest == nullptr) return;
            spdlog::warn("request {}: ended while it waited, because memory is full", largest->id);
            largest->stream->Fail(absl::ResourceExhaustedError(
                "the server's memory is full, and this was the largest request that waited: retry "
                "later, or ask for less at once"));
          },
  });
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Flags& flags) {
  auto folders = Folders(flags);
  if (!folders.ok()) return folders.status();
  auto parts = std::make_unique<Parts>(flags);
  if (absl::Status status = parts->CheckDescriptors(); !status.ok()) return status;
  if (absl::Status status = parts->CheckCredentials(); !status.ok()) return status;
  if (absl::Status status = parts->LoadModels(*folders); !status.ok()) return status;
  if (absl::Status status = parts->StartEngines(); !status.ok()) return status;
  if (absl::Status status = parts->StartManager(); !status.ok()) return status;
  if (absl::Status status = parts->OpenPorts(); !status.ok()) return status;
  parts->StartWatchdog();
  parts->WatchMemory();
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
  parts_->manager->StopLoading();
  // In this order: once health says so, nothing is taken in.
  parts_->draining.store(true);
  parts_->service->Drain();
  parts_->inference->Drain();
  parts_->queue->Close();
  parts_->SayServing(false);
}

int Server::calls_in_flight() const {
  return parts_->service->calls_in_flight() + parts_->inference->calls_in_flight();
}

void Server::Stop() {
  StopAdmitting();
  parts_->manager->Stop();
  if (parts_->admin_grpc) {
    parts_->admin_grpc->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  }
  // Engines first: what still runs ends with UNAVAILABLE by them, and not as cancelled by gRPC.
  for (const auto& engine : parts_->engines) engine->Stop();
  for (const auto& request : parts_->queue->TakeAll()) {
    request->stream->Fail(ShuttingDownError());
  }
  parts_->grpc->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
}

}  // namespace denoise
