#include "server/metrics/metrics.h"

#include <iterator>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "net/acceptor.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"
#include "server/metrics/process_collector.h"
#include "server/metrics/scrape_server.h"

namespace denoise {
namespace {

using prometheus::ClientMetric;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::Registry;
using Buckets = Histogram::BucketBoundaries;

// Seconds of one turn of an engine: 100 us of a null denoiser to 10 s of a big one.
const Buckets kTickBuckets = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                              0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
// Seconds outside the denoiser call, which are to stay below 100 us.
const Buckets kOverheadBuckets = {0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005,
                                  0.001,   0.0025,   0.005,   0.01,   0.1,     1};
// Seconds that a caller sees.
const Buckets kRequestBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                 1,     2.5,    5,     10,   30,    60,   120, 300,  600};
const Buckets kRowBuckets = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};

std::string Compiler() {
#if defined(__clang__)
  return absl::StrCat("clang ", __clang_major__, ".", __clang_minor__, ".", __clang_patchlevel__);
#else
  return absl::StrCat("gcc ", __GNUC__, ".", __GNUC_MINOR__, ".", __GNUC_PATCHLEVEL__);
#endif
}

MetricFamily GaugeFamily(std::string name, std::string help, double value) {
  MetricFamily family{std::move(name), std::move(help), prometheus::MetricType::Gauge,
                      std::vector<prometheus::ClientMetric>(1)};
  family.metric[0].gauge.value = value;
  return family;
}

MetricFamily MemoryFamily(const MemoryGauges& memory) {
  MetricFamily family{"denoise_memory_budget_bytes",
                      "Memory that callers make the server hold.",
                      prometheus::MetricType::Gauge,
                      {}};
  for (const auto& [kind, bytes] : {std::pair<const char*, double>{"messages", memory.messages},
                                    {"requests", memory.requests},
                                    {"results", memory.results}}) {
    prometheus::ClientMetric metric;
    metric.label = {{"kind", kind}};
    metric.gauge.value = bytes;
    family.metric.push_back(std::move(metric));
  }
  return family;
}

MetricFamily TenantFamily(std::string name, std::string help, const CallerGauges& callers,
                          double CallerGauges::Tenant::*value) {
  MetricFamily family{std::move(name), std::move(help), prometheus::MetricType::Gauge, {}};
  for (const CallerGauges::Tenant& tenant : callers.tenants) {
    ClientMetric metric;
    metric.label = {{"tenant", tenant.name}};
    metric.gauge.value = tenant.*value;
    family.metric.push_back(std::move(metric));
  }
  return family;
}

std::vector<MetricFamily> CallerFamilies(const CallerGauges& callers) {
  using Tenant = CallerGauges::Tenant;
  return {TenantFamily("denoise_tenant_requests_waiting", "Requests of a tenant that wait.",
                       callers, &Tenant::requests_waiting),
          TenantFamily("denoise_tenant_waiting_bytes",
                       "What the requests of a tenant that wait have brought.", callers,
                       &Tenant::waiting_bytes),
          TenantFamily("denoise_tenant_chains_active", "Chains of a tenant that engines have.",
                       callers, &Tenant::chains_active),
          GaugeFamily("denoise_token_file_stale",
                      "Whether the token file was refused as it is now, and an older one counts.",
                      callers.token_file_stale ? 1 : 0),
          GaugeFamily("denoise_admin_operations", "Operations of ModelAdmin that have not ended.",
                      callers.admin_operations),
          GaugeFamily("denoise_shared_memory_regions", "Regions that callers have registered.",
                      callers.shared_memory_regions)};
}

// All that a scrape answers: the registry, and what is computed for it.
//
// std::mutex and not absl::Mutex: ThreadSanitizer does not see through distributions' Abseil.
class Everything {
 public:
  Registry& registry() { return registry_; }

  struct Chains {
    Gauge active;
    Gauge parked;
  };
  Chains& ChainsOf(const std::string& device) {
    std::lock_guard<std::mutex> lock(mutex_);
    return chains_[device];
  }

  void SetRequestsWaiting(std::function<double()> read) {
    std::lock_guard<std::mutex> lock(mutex_);
    requests_waiting_ = std::move(read);
  }

  void AddPort(const std::string& port, std::shared_ptr<const ConnectionCounts> counts) {
    std::lock_guard<std::mutex> lock(mutex_);
    ports_[port] = std::move(counts);
  }

  void SetMemory(std::function<MemoryGauges()> read) {
    std::lock_guard<std::mutex> lock(mutex_);
    memory_ = std::move(read);
  }

  void SetCallers(std::function<CallerGauges()> read) {
    std::lock_guard<std::mutex> lock(mutex_);
    callers_ = std::move(read);
  }

  std::vector<MetricFamily> Collect() const {
    std::vector<MetricFamily> families = registry_.Collect();
    const auto add = [&families](std::vector<MetricFamily> more) {
      families.insert(families.end(), std::make_move_iterator(more.begin()),
                      std::make_move_iterator(more.end()));
    };
    {
      std::lock_guard<std::mutex> lock(mutex_);
      double active = 0;
      double parked = 0;
      for (const auto& [device, chains] : chains_) {
        active += chains.active.Value();
        parked += chains.parked.Value();
      }
      families.push_back(GaugeFamily("denoise_chains_active", "Chains being sampled.", active));
      families.push_back(GaugeFamily("denoise_chains_parked",
                                     "Chains that wait until their caller has read.", parked));
      families.push_back(GaugeFamily("denoise_requests_waiting", "Requests in the waiting queue.",
                                     requests_waiting_ ? requests_waiting_() : 0));
      AddConnections(&families);
      const MemoryGauges memory = memory_ ? memory_() : MemoryGauges();
      families.push_back(MemoryFamily(memory));
      families.push_back(GaugeFamily("denoise_memory_budget_limit_bytes",
                                     "What all kinds of memory_budget_bytes may hold together.",
                                     memory.limit));
      add(CallerFamilies(callers_ ? callers_() : CallerGauges()));
    }
    add(process_.Collect());
    return families;
  }

 private:
  // Under mutex_.
  void AddConnections(std::vector<MetricFamily>* families) const {
    MetricFamily open = {
        "denoise_connections", "Open connections of a port.", prometheus::MetricType::Gauge, {}};
    MetricFamily most = {
        "denoise_connections_max", "How many there may be.", prometheus::MetricType::Gauge, {}};
    MetricFamily refused = {"denoise_connections_refused_total",
                            "Connections that were closed before they were served.",
                            prometheus::MetricType::Counter,
                            {}};
    for (const auto& [port, counts] : ports_) {
      ClientMetric metric;
      metric.label = {{"port", port}};
      metric.gauge.value = static_cast<double>(counts->open);
      open.metric.push_back(metric);
      metric.gauge.value = static_cast<double>(counts->max);
      most.metric.push_back(metric);
      for (size_t i = 0; i < kRefusals; ++i) {
        metric.label = {{"port", port}, {"reason", std::string(RefusalName(Refusal(i)))}};
        metric.counter.value = static_cast<double>(counts->refused[i]);
        refused.metric.push_back(metric);
      }
    }
    for (MetricFamily* family : {&open, &most, &refused}) families->push_back(std::move(*family));
  }

  Registry registry_;
  ProcessCollector process_;

  mutable std::mutex mutex_;
  std::map<std::string, Chains> chains_;  // by device; shown as their sums
  // Also called under mutex_, so that they can be unset.
  std::function<double()> requests_waiting_;
  std::function<MemoryGauges()> memory_;
  std::function<CallerGauges()> callers_;
  std::map<std::string, std::shared_ptr<const ConnectionCounts>> ports_;
};

Family<Counter>& CounterFamily(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Family<Histogram>& HistogramFamily(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

}  // namespace

// Family::Add returns the metric that already has these labels, so families are their own caches.
struct Metrics::Impl {
  std::shared_ptr<Everything> everything = std::make_shared<Everything>();
  Registry& registry = everything->registry();

  Family<Counter>& requests = CounterFamily(registry, "denoise_requests_total",
                                            "Calls that ended, by canonical status code.");
  Family<Histogram>& request_seconds = HistogramFamily(
      registry, "denoise_request_seconds", "From a call's arrival to the end of its answer.");
  Family<Counter>& rejected = CounterFamily(registry, "denoise_requests_rejected_total",
                                            "Requests that were not admitted.");
  Family<Counter>& failed =
      CounterFamily(registry, "denoise_chains_failed_total", "Chains that ended in an error.");
  Family<Counter>& rows =
      CounterFamily(registry, "denoise_rows_total", "Rows evaluated by the denoiser.");
  Family<Counter>& batches = CounterFamily(registry, "denoise_batches_total", "Denoiser calls.");
  Family<Histogram>& tick_seconds =
      HistogramFamily(registry, "denoise_tick_seconds", "One turn of an engine's loop.");
  Family<Histogram>& denoiser_seconds = HistogramFamily(
      registry, "denoise_denoiser_seconds", "The denoiser call of one turn of an engine's loop.");
  Family<Histogram>& decoder_seconds =
      HistogramFamily(registry, "denoise_decoder_seconds",
                      "Decoder calls of one turn of an engine's loop that made some.");
  Family<Gauge>& load_seconds =
      prometheus::BuildGauge()
          .Name("denoise_model_load_seconds")
          .Help("Loading, examining and warming the model, the last time.")
          .Register(registry);

  Histogram& queue_seconds =
      HistogramFamily(registry, "denoise_queue_seconds",
                      "From a request's admission to its first chain becoming active.")
          .Add({}, kRequestBuckets);
  Histogram& first_state_seconds =
      HistogramFamily(registry, "denoise_first_state_seconds",
                      "From a request's admission to its first streamed state.")
          .Add({}, kRequestBuckets);
  Histogram& batch_rows =
      HistogramFamily(registry, "denoise_batch_rows", "Rows of a denoiser call, without padding.")
          .Add({}, kRowBuckets);
  Histogram& overhead_seconds =
      HistogramFamily(registry, "denoise_engine_overhead_seconds",
                      "One turn of an engine's loop outside the denoiser and decoder calls.")
          .Add({}, kOverheadBuckets);
  Counter& padding_rows =
      CounterFamily(registry, "denoise_padding_rows_total",
                    "Rows that only filled a denoiser call up to an allowed batch size.")
          .Add({});
  Counter& states_sent =
      CounterFamily(registry, "denoise_states_sent_total", "States handed to gRPC.").Add({});
  Counter& states_dropped =
      CounterFamily(registry, "denoise_states_dropped_total",
                    "States that a newer one replaced because their reader was slow.")
          .Add({});

  // Last, so that no scrape is under way when the rest goes.
  std::unique_ptr<ScrapeServer> server;

  Impl() {
    prometheus::BuildGauge()
        .Name("denoise_build_info")
        .Help("Always 1; the labels say what is running.")
        .Register(registry)
        .Add({{"version", DENOISE_VERSION}, {"compiler", Compiler()}})
        .Set(1);
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

EngineMetrics Metrics::ForEngine(const std::string& device) {
  Everything::Chains& chains = impl_->everything->ChainsOf(device);
  return {.chains_active = &chains.active,
          .chains_parked = &chains.parked,
          .tick_seconds = &impl_->tick_seconds.Add({{"device", device}}, kTickBuckets),
          .denoiser_seconds = &impl_->denoiser_seconds.Add({{"device", device}}, kTickBuckets),
          .decoder_seconds = &impl_->decoder_seconds.Add({{"device", device}}, kTickBuckets),
          .batch_rows = &impl_->batch_rows,
          .engine_overhead_seconds = &impl_->overhead_seconds,
          .padding_rows_total = &impl_->padding_rows};
}

ModelMetrics Metrics::ForModel(const std::string& model) {
  return {.rows_total = &impl_->rows.Add({{"model", model}}),
          .batches_total = &impl_->batches.Add({{"model", model}})};
}

void Metrics::RequestDone(const std::string& model, const std::string& method,
                          const std::string& code, double seconds) {
  impl_->requests.Add({{"model", model}, {"method", method}, {"code", code}}).Increment();
  impl_->request_seconds.Add({{"method", method}}, kRequestBuckets).Observe(seconds);
}

void Metrics::QueueSeconds(double seconds) { impl_->queue_seconds.Observe(seconds); }

void Metrics::FirstStateSeconds(double seconds) { impl_->first_state_seconds.Observe(seconds); }

void Metrics::StatesSent(uint64_t count) {
  impl_->states_sent.Increment(static_cast<double>(count));
}

void Metrics::StatesDropped(uint64_t count) {
  impl_->states_dropped.Increment(static_cast<double>(count));
}

void Metrics::ChainFailed(const std::string& reason) {
  impl_->failed.Add({{"reason", reason}}).Increment();
}

void Metrics::RequestRejected(const std::string& reason) {
  impl_->rejected.Add({{"reason", reason}}).Increment();
}

void Metrics::ModelLoaded(const std::string& model, double seconds) {
  impl_->load_seconds.Add({{"model", model}}).Set(seconds);
}

void Metrics::SetRequestsWaiting(std::function<double()> read) {
  impl_->everything->SetRequestsWaiting(std::move(read));
}

void Metrics::AddPort(const std::string& port, std::shared_ptr<const ConnectionCounts> counts) {
  impl_->everything->AddPort(port, std::move(counts));
}

void Metrics::SetMemory(std::function<MemoryGauges()> read) {
  impl_->everything->SetMemory(std::move(read));
}

void Metrics::SetCallers(std::function<CallerGauges()> read) {
  impl_->everything->SetCallers(std::move(read));
}

absl::StatusOr<int> Metrics::Listen(absl::string_view address, Authorize authorize) {
  auto server = ScrapeServer::Start(
      std::string(address),
      [everything = impl_->everything] {
        return prometheus::TextSerializer().Serialize(everything->Collect());
      },
      std::move(authorize));
  if (!server.ok()) return server.status();
  impl_->server = *std::move(server);
  AddPort("metrics", impl_->server->connections());
  return impl_->server->port();
}

std::string Metrics::Text() const {
  return prometheus::TextSerializer().Serialize(impl_->everything->Collect());
}

}  // namespace denoise
