#include "client/viewer/viewer_server.h"

#include <atomic>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/viewer/assets.h"
#include "client/viewer/event_json.h"
#include "client/viewer/figures.h"
#include "client/viewer/request.h"
#include "client/viewer/run_stream.h"
#include "net/http_server.h"

namespace denoise::viewer {
namespace {

constexpr absl::Duration kCallTimeout = absl::Seconds(5);
// How soon a run notices that its page has gone or that the viewer ends.
constexpr absl::Duration kPatience = absl::Milliseconds(250);

constexpr char kContentSecurityPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

CallOptions BriefCall() {
  CallOptions options;
  options.timeout = kCallTimeout;
  return options;
}

int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 503;
    default:
      return 500;
  }
}

void Answer(const nlohmann::json& document, httplib::Response& response) {
  response.set_content(Dump(document), "application/json");
}

void Fail(const absl::Status& status, httplib::Response& response) {
  response.status = HttpStatusOf(status);
  Answer(ErrorToJson(status), response);
}

const char* TypeOf(const std::string& path) {
  if (absl::EndsWith(path, ".css")) return "text/css; charset=utf-8";
  if (absl::EndsWith(path, ".js")) return "text/javascript; charset=utf-8";
  return "text/html; charset=utf-8";
}

}  // namespace

class ViewerServer::Impl {
 public:
  Impl(Client client, ViewerOptions options)
      : client_(std::move(client)),
        options_(std::move(options)),
        http_({.limits = options_.connections}) {}

  ~Impl() {
    stopping_ = true;
    http_.Stop();
  }

  absl::Status Start() {
    http_.set_payload_max_length(options_.max_body_bytes);
    http_.set_default_headers({{"Content-Security-Policy", kContentSecurityPolicy},
                               {"X-Content-Type-Options", "nosniff"},
                               {"Referrer-Policy", "no-referrer"},
                               {"Cross-Origin-Resource-Policy", "same-origin"},
                               {"Cache-Control", "no-store"}});
    http_.set_pre_routing_handler(
        [this](const auto& request, auto& response) { return Admit(request, response); });
    http_.set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return;  // Fail() has set it
      const int status = response.status;
      Answer(ErrorToJson(status == 413 ? absl::ResourceExhaustedError("the request is too large")
                                       : absl::NotFoundError("there is nothing here")),
             response);
    });
    for (const auto& [path, text] : Assets()) Serve(path, path, text);
    Serve("/", "/index.html", Assets().at("/index.html"));
    http_.Get("/api/models", [this](const auto&, auto& response) { Models(response); });
    http_.Get("/api/figures", [this](const auto&, auto& response) { ReadFigures(response); });
    http_.Post("/api/runs",
               [this](const auto& request, auto& response) { Run(request, response); });

    HostPort& listen = options_.listen;
    const bool v6 = absl::StrContains(listen.host, ":");
    const absl::Status bound =
        http_.Bind(absl::StrCat(v6 ? "[" : "", listen.host, v6 ? "]" : "", ":", listen.port));
    if (!bound.ok()) {
      return absl::UnavailableError(
          absl::StrCat(std::string(bound.message()), " (choose another by --listen)"));
    }
    listen.port = http_.port();
    hosts_ = AllowedHosts(listen, options_.allowed_hosts);
    return http_.Start();
  }

  int port() const { return http_.port(); }

 private:
  void Serve(const std::string& path, const std::string& name, const std::string& text) {
    http_.Get(path, [&text, type = TypeOf(name)](const auto&, auto& response) {
      response.set_content(text, type);
    });
  }

  HttpServer::HandlerResponse Admit(const httplib::Request& request,
                                    httplib::Response& response) const {
    const std::string host = request.get_header_value("Host");
    auto status = CheckHost(host, hosts_);
    if (status.ok() && request.method != "GET" && request.method != "HEAD") {
      status = CheckOrigin(request.get_header_value("Origin"), host,
                           request.get_header_value("Content-Type"));
      // The bound on bodies holds only for those that say how long they are, and once unpacked.
      if (status.ok() &&
          (!request.has_header("Content-Length") || request.has_header("Transfer-Encoding") ||
           request.has_header("Content-Encoding"))) {
        status = absl::InvalidArgumentError("a body needs a content-length, and no encoding");
      }
    }
    if (status.ok()) return HttpServer::HandlerResponse::Unhandled;
    Fail(status, response);
    return HttpServer::HandlerResponse::Handled;
  }

  void Models(httplib::Response& response) {
    const auto models = client_.ListModels(BriefCall());
    if (!models.ok()) return Fail(models.status(), response);
    nlohmann::json list = nlohmann::json::array();
    for (const auto& model : *models) list.push_back(ToJson(model));
    Answer({{"server", options_.server}, {"models", list}}, response);
  }

  void ReadFigures(httplib::Response& response) const {
    nlohmann::json figures;
    if (options_.metrics) {
      httplib::Client metrics(options_.metrics->host, options_.metrics->port);
      metrics.set_connection_timeout(2);
      metrics.set_read_timeout(2);
      if (const auto answer = metrics.Get("/metrics"); answer && answer->status == 200) {
        const Figures read = ParseFigures(answer->body);
        figures = {{"requests_waiting", read.requests_waiting},
                   {"chains_active", read.chains_active},
                   {"rows_total", read.rows_total},
                   {"batch_rows_sum", read.batch_rows_sum},
                   {"batch_rows_count", read.batch_rows_count}};
      }
    }
    Answer({{"figures", figures}}, response);
  }

  absl::StatusOr<RunRequest> Parse(const std::string& body) {
    const auto document = ParseBody(body);
    if (!document.ok()) return document.status();
    const auto name = ModelOf(*document);
    if (!name.ok()) return name.status();
    const auto model = client_.GetModel(*name, 0, BriefCall());
    if (!model.ok()) return model.status();
    return ParseRun(*document, *model);
  }

  void Run(const httplib::Request& request, httplib::Response& response) {
    // Holds a place among the runs for as long as the stream lives.
    const std::shared_ptr<void> place(nullptr, [this](void*) { --runs_; });
    if (++runs_ > options_.max_runs) {
      return Fail(absl::ResourceExhaustedError(absl::StrCat("there are ", options_.max_runs,
                                                            " runs already; cancel one, or wait")),
                  response);
    }
    auto parsed = Parse(request.body);
    if (!parsed.ok()) return Fail(parsed.status(), response);
    auto run = std::make_shared<RunStream>(client_, *std::move(parsed));
    response.set_header("X-Accel-Buffering", "no");  // of proxies
    response.set_chunked_content_provider("text/event-stream",
                                          [this, run, place](size_t, httplib::DataSink& sink) {
                                            std::string text;
                                            const auto took = run->Take(kPatience, &text);
                                            if (stopping_) return false;
                                            if (took == RunStream::Took::kEnd) {
                                              sink.done();
                                              return true;
                                            }
                                            // A comment finds out whether the page is still there.
                                            if (took == RunStream::Took::kNothingYet)
                                              text = ":\n\n";
                                            return sink.write(text.data(), text.size());
                                          });
  }

  Client client_;
  ViewerOptions options_;
  std::set<std::string> hosts_;
  std::atomic<int> runs_{0};
  std::atomic<bool> stopping_{false};
  HttpServer http_;
};

ViewerServer::ViewerServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ViewerServer::~ViewerServer() = default;

absl::StatusOr<std::unique_ptr<ViewerServer>> ViewerServer::Start(Client client,
                                                                  ViewerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(client), std::move(options));
  if (auto status = impl->Start(); !status.ok()) return status;
  return std::unique_ptr<ViewerServer>(new ViewerServer(std::move(impl)));
}

int ViewerServer::port() const { return impl_->port(); }

}  // namespace denoise::viewer
