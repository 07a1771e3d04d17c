// The viewer's HTTP server.
//
//   GET  /, /style.css, …   the page
//   GET  /api/models        {"server", "models": […]}; 503 while the server is unreachable
//   GET  /api/figures       {"figures": {…} or null}; null without --metrics or without an answer
//   POST /api/runs          a run (request.h), answered by its events until it ends; closing the
//                           connection cancels it
//
// Errors are {"type": "error", "code", "message", "retry_seconds"}.
#ifndef DENOISE_CLIENT_VIEWER_VIEWER_SERVER_H_
#define DENOISE_CLIENT_VIEWER_VIEWER_SERVER_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "client/viewer/access.h"
#include "denoise/client.h"
#include "net/connection_table.h"

namespace denoise::viewer {

struct ViewerOptions {
  std::string server;  // shown to people
  HostPort listen;     // port 0: one that is free
  std::set<std::string> allowed_hosts;
  std::optional<HostPort> metrics;  // of the server
  int max_runs = 8;                 // at once, of all pages
  size_t max_body_bytes = 4 << 20;
  ConnectionLimits connections = {.max_connections = 128, .max_per_address = 64};
};

// Thread-safe.
class ViewerServer {
 public:
  // Answers from now on. UNAVAILABLE if the address is taken or not this machine's.
  static absl::StatusOr<std::unique_ptr<ViewerServer>> Start(Client client, ViewerOptions options);
  // Ends the runs too.
  ~ViewerServer();

  int port() const;

 private:
  class Impl;
  explicit ViewerServer(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace denoise::viewer

#endif  // DENOISE_CLIENT_VIEWER_VIEWER_SERVER_H_
