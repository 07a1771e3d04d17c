// denoise-viewer: a web page that shows how samples come about.
#include <sysexits.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/flags/credential_flags.h"
#include "client/viewer/probe.h"
#include "client/viewer/viewer_server.h"

namespace {

using denoise::viewer::HostPort;
using denoise::viewer::ParseHostPort;
using denoise::viewer::ViewerServer;

CLI::Validator IsHostPort() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        HostPort parsed;
        return ParseHostPort(text, &parsed) ? "" : "'" + text + "' is not HOST:PORT";
      },
      "HOST:PORT");
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("denoise-viewer shows the chains of a Denoised server in a browser",
               "denoise-viewer");
  app.set_version_flag("--version", std::string("denoise-viewer ") + DENOISE_VERSION);
  app.get_formatter()->column_width(34);
  denoise::viewer::ViewerOptions options;
  options.server = "127.0.0.1:8500";
  std::string listen = "127.0.0.1:8080", metrics;
  std::vector<std::string> hosts;
  app.add_option("--server", options.server, "The server: HOST:PORT or dns:///NAME:PORT")
      ->envname("DENOISE_VIEWER_SERVER")
      ->capture_default_str();
  app.add_option("--listen", listen, "Where the page is served; port 0: a free one")
      ->envname("DENOISE_VIEWER_LISTEN")
      ->check(IsHostPort())
      ->capture_default_str();
  app.add_option("--metrics", metrics, "The server's metrics, for live figures [none]")
      ->envname("DENOISE_VIEWER_METRICS")
      ->check(IsHostPort());
  app.add_option(
         "--allow-host", hosts,
         "Further name by which browsers reach the page (NAME or NAME:PORT); may be repeated")
      ->envname("DENOISE_VIEWER_ALLOW_HOST");
  app.add_option("--max-runs", options.max_runs, "Runs at once, of all pages")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--max-connections", options.connections.max_connections,
                 "Connections of browsers, in all")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--max-connections-per-address", options.connections.max_per_address,
                 "Of those, of one address")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  bool probe = false;
  app.add_flag("--probe", probe, "Ask the viewer at --listen for its page, and exit 0 or 1");
  denoise::CredentialFlags credentials;
  denoise::AddCredentialFlags(&app, "DENOISE_VIEWER", &credentials);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EX_OK : EX_USAGE;
  }
  ParseHostPort(listen, &options.listen);
  if (probe) return denoise::viewer::Probe(options.listen);
  if (!metrics.empty()) ParseHostPort(metrics, &options.metrics.emplace());
  options.allowed_hosts = std::set<std::string>(hosts.begin(), hosts.end());

  // Before any thread, so that all of them have it.
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  denoise::ClientOptions client_options;
  client_options.user_agent = "denoise-viewer";
  // The page says that the server is away, and sees it come.
  client_options.connect_timeout = absl::ZeroDuration();
  const absl::Status applied = denoise::ApplyCredentialFlags(credentials, &client_options);
  if (!applied.ok()) {
    std::cerr << "denoise-viewer: " << applied.message() << std::endl;
    return EX_USAGE;
  }
  auto client = denoise::Client::Connect(options.server, client_options);
  if (!client.ok()) {
    std::cerr << "denoise-viewer: --server: " << client.status().message() << std::endl;
    return EX_USAGE;
  }
  auto viewer = ViewerServer::Start(*client, options);
  if (!viewer.ok()) {
    std::cerr << "denoise-viewer: " << viewer.status().message() << std::endl;
    return EX_UNAVAILABLE;
  }
  std::cout << "denoise-viewer: ready http://" << listen.substr(0, listen.rfind(':')) << ":"
            << (*viewer)->port() << "/" << std::endl;
  int signal = 0;
  sigwait(&signals, &signal);
  return EX_OK;
} catch (const std::exception& error) {  // such as memory that ran out
  std::fprintf(stderr, "denoise-viewer: %s\n", error.what());
  return EX_SOFTWARE;
}
