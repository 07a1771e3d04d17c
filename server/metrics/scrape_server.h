// The HTTP server that scrapers ask.
#ifndef DENOISE_SERVER_METRICS_SCRAPE_SERVER_H_
#define DENOISE_SERVER_METRICS_SCRAPE_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "net/http_server.h"

namespace denoise {

// Serves GET /metrics until it is destroyed, which waits for the scrapes under way.
class ScrapeServer {
 public:
  using Authorize = std::function<bool(absl::string_view token)>;

  // `address` as for Listener::Open(), whose errors are these. `text` makes an answer, and
  // `authorize` says whether a token may have it (null: nobody needs one), on threads of the
  // server.
  static absl::StatusOr<std::unique_ptr<ScrapeServer>> Start(const std::string& address,
                                                             std::function<std::string()> text,
                                                             Authorize authorize);

  int port() const { return http_.port(); }
  std::shared_ptr<const ConnectionCounts> connections() const { return http_.counts(); }

 private:
  ScrapeServer(std::function<std::string()> text, Authorize authorize);
  bool MayScrape(const httplib::Request& request) const;

  const std::function<std::string()> text_;
  const Authorize authorize_;
  HttpServer http_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_METRICS_SCRAPE_SERVER_H_
