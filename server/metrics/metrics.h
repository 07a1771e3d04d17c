// Every metric family of the server, in one place.
#ifndef DENOISE_SERVER_METRICS_METRICS_H_
#define DENOISE_SERVER_METRICS_METRICS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace denoise {

struct ConnectionCounts;

// Handles of one engine thread; made once, so that the hot path never looks a metric up. The
// seconds of ticks and of denoiser and decoder calls are labelled device="cpu:0", the others are
// shared by all engines.
struct EngineMetrics {
  // This engine's own; a scrape shows the sums.
  prometheus::Gauge* chains_active;
  prometheus::Gauge* chains_parked;
  prometheus::Histogram* tick_seconds;
  prometheus::Histogram* denoiser_seconds;
  prometheus::Histogram* decoder_seconds;          // decoder calls in a row, one or more
  prometheus::Histogram* batch_rows;               // denoiser rows of a call, without padding
  prometheus::Histogram* engine_overhead_seconds;  // of a tick: all but those calls
  prometheus::Counter* padding_rows_total;
};

// Handles of one model.
struct ModelMetrics {
  prometheus::Counter* rows_total;     // denoiser rows
  prometheus::Counter* batches_total;  // denoiser calls
};

// Bytes, of memory_budget_bytes.
struct MemoryGauges {
  double messages = 0;
  double requests = 0;
  double results = 0;
  double limit = 0;
};

// Of callers, and of what they have.
struct CallerGauges {
  struct Tenant {
    std::string name;
    double requests_waiting = 0;
    double waiting_bytes = 0;
    double chains_active = 0;
  };
  std::vector<Tenant> tenants;  // a bounded set, each once
  bool token_file_stale = false;
  double admin_operations = 0;
  double shared_memory_regions = 0;
};

// Thread-safe. Lives as long as the server.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  EngineMetrics ForEngine(const std::string& device);
  ModelMetrics ForModel(const std::string& model);

  // requests_total{model,method,code} and request_seconds{method}; `code` is the canonical name
  // ("OK", "CANCELLED"). `model` is empty where the request named none that is served: labels come
  // from a bounded set, never from callers.
  void RequestDone(const std::string& model, const std::string& method, const std::string& code,
                   double seconds);
  void QueueSeconds(double seconds);
  void FirstStateSeconds(double seconds);
  void StatesSent(uint64_t count);
  void StatesDropped(uint64_t count);
  void ChainFailed(const std::string& reason);
  void RequestRejected(const std::string& reason);
  void ModelLoaded(const std::string& model, double seconds);
  // requests_waiting, read at every scrape, on the scraper's thread; unset it (nullptr) before what
  // it reads is destroyed.
  void SetRequestsWaiting(std::function<double()> read);
  // connections{port}, connections_max{port} and connections_refused_total{port,reason} of what
  // listens; `port` is one of grpc, admin and metrics.
  void AddPort(const std::string& port, std::shared_ptr<const ConnectionCounts> counts);
  // memory_budget_bytes{kind} and memory_budget_limit_bytes, likewise.
  void SetMemory(std::function<MemoryGauges()> read);
  // tenant_…{tenant}, token_file_stale, admin_operations and shared_memory_regions, likewise.
  void SetCallers(std::function<CallerGauges()> read);

  // Whether whoever shows that token may scrape.
  using Authorize = std::function<bool(absl::string_view token)>;
  // Serves GET /metrics on HOST:PORT (port 0: any) until destroyed, to all where `authorize` is
  // null. Once; returns the port. The errors are those of Listener::Open().
  absl::StatusOr<int> Listen(absl::string_view address, Authorize authorize = nullptr);

  // The text exposition format, for tests.
  std::string Text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_METRICS_METRICS_H_
