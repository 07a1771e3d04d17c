// The HTTP server that scrapers ask.
#ifndef DENOISE_SERVER_METRICS_SCRAPE_SERVER_H_
#define DENOISE_SERVER_METRICS_SCRAPE_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "net/http_server.h"

namespace denoise {

// Serves GET /metrics until it is destroyed, which waits for the scrapes under way.
class ScrapeServer {
 public:
  // `address` as for Listener::Open(), whose errors are these. `text` makes an answer, on threads
  // of the server.
  static absl::StatusOr<std::unique_ptr<ScrapeServer>> Start(const std::string& address,
                                                             std::function<std::string()> text);

  int port() const { return http_.port(); }
  std::shared_ptr<const ConnectionCounts> connections() const { return http_.counts(); }

 private:
  explicit ScrapeServer(std::function<std::string()> text);

  const std::function<std::string()> text_;
  HttpServer http_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_METRICS_SCRAPE_SERVER_H_
