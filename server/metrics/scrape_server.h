// The HTTP server that scrapers ask.
#ifndef DENOISE_SERVER_METRICS_SCRAPE_SERVER_H_
#define DENOISE_SERVER_METRICS_SCRAPE_SERVER_H_

#include <atomic>
#include <memory>
#include <string>

#include "prometheus/collectable.h"
#include "prometheus/exposer.h"

namespace denoise {

// Serves GET /metrics until it is destroyed.
class ScrapeServer {
 public:
  // `address`: HOST:PORT; port 0: any. Throws what civetweb throws where that cannot be bound.
  ScrapeServer(const std::string& address, const std::shared_ptr<prometheus::Collectable>& metrics);
  // Returns when no scrape is under way; an idle server ends at once.
  ~ScrapeServer();
  ScrapeServer(const ScrapeServer&) = delete;
  ScrapeServer& operator=(const ScrapeServer&) = delete;

  // 0: it has none.
  int port() const { return port_; }

 private:
  // Connects again and again until `gone`.
  void Knock(const std::atomic<bool>& gone) const;

  const std::string host_;
  int port_ = 0;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_METRICS_SCRAPE_SERVER_H_
