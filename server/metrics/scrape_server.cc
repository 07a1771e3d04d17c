#include "server/metrics/scrape_server.h"

#include <utility>

#include "absl/strings/strip.h"

namespace denoise {
namespace {

// A scraper is one client with one connection.
constexpr ConnectionLimits kLimits = {.max_connections = 32, .max_per_address = 16};

constexpr char kTextFormat[] = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace

absl::StatusOr<std::unique_ptr<ScrapeServer>> ScrapeServer::Start(const std::string& address,
                                                                  std::function<std::string()> text,
                                                                  Authorize authorize) {
  std::unique_ptr<ScrapeServer> server(new ScrapeServer(std::move(text), std::move(authorize)));
  if (absl::Status status = server->http_.Bind(address); !status.ok()) return status;
  if (absl::Status status = server->http_.Start(); !status.ok()) return status;
  return server;
}

ScrapeServer::ScrapeServer(std::function<std::string()> text, Authorize authorize)
    : text_(std::move(text)), authorize_(std::move(authorize)), http_({.limits = kLimits}) {
  // Others have bodies, which nobody here wants to read.
  http_.set_pre_routing_handler([](const httplib::Request& request, httplib::Response& response) {
    if (request.method == "GET" || request.method == "HEAD") {
      return HttpServer::HandlerResponse::Unhandled;
    }
    response.status = 405;
    response.set_header("Allow", "GET, HEAD");
    return HttpServer::HandlerResponse::Handled;
  });
  http_.Get("/metrics", [this](const httplib::Request& request, httplib::Response& response) {
    if (MayScrape(request)) {
      response.set_content(text_(), kTextFormat);
    } else {
      response.status = 401;
      response.set_header("WWW-Authenticate", "Bearer");
    }
  });
}

bool ScrapeServer::MayScrape(const httplib::Request& request) const {
  if (!authorize_) return true;
  const std::string value = request.get_header_value("Authorization");
  absl::string_view token = value;
  return request.get_header_value_count("Authorization") == 1 &&
         absl::ConsumePrefix(&token, "Bearer ") && authorize_(token);
}

}  // namespace denoise
