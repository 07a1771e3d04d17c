// Every metric family of the server, in one place.
#ifndef DENOISE_SERVER_METRICS_METRICS_H_
#define DENOISE_SERVER_METRICS_METRICS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace denoise {

// Handles of one engine thread (label device="cpu:0"); made once, so that the hot path never looks
// a metric up.
struct EngineMetrics {
  prometheus::Gauge* chains_active;
  prometheus::Histogram* tick_seconds;
  prometheus::Histogram* denoiser_seconds;
  prometheus::Histogram* batch_rows;               // denoiser rows of a call, without padding
  prometheus::Histogram* engine_overhead_seconds;  // of a tick: all but the denoiser call
  prometheus::Counter* padding_rows_total;
};

// Handles of one model.
struct ModelMetrics {
  prometheus::Counter* rows_total;  // denoiser rows
};

// Thread-safe. Lives as long as the server.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  EngineMetrics ForEngine(const std::string& device);
  ModelMetrics ForModel(const std::string& model);

  // requests_total{model,method,code} and request_seconds{method}; `code` is the canonical name
  // ("OK", "CANCELLED").
  void RequestDone(const std::string& model, const std::string& method, const std::string& code,
                   double seconds);
  void QueueSeconds(double seconds);
  void FirstStateSeconds(double seconds);
  void StatesSent(uint64_t count);
  void StatesDropped(uint64_t count);
  void ChainFailed(const std::string& reason);
  void RequestRejected(const std::string& reason);
  void ModelLoaded(const std::string& model, double seconds);
  // requests_waiting, read at every scrape.
  void SetRequestsWaiting(std::function<double()> read);

  // Serves GET /metrics on HOST:PORT (port 0: any). UNAVAILABLE, naming the address, where it
  // cannot be bound. Returns the port.
  absl::StatusOr<int> Listen(absl::string_view address);

  // The text exposition format, for tests.
  std::string Text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_METRICS_METRICS_H_
