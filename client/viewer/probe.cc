#include "client/viewer/probe.h"

#include <iostream>
#include <string>

#include "httplib.h"

namespace denoise::viewer {

int Probe(const HostPort& listen) {
  constexpr int kTimeoutSeconds = 3;
  std::string host = listen.host;
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  httplib::Client client(host, listen.port);
  client.set_connection_timeout(kTimeoutSeconds);
  client.set_read_timeout(kTimeoutSeconds);
  // A name that the viewer always accepts, whatever it listens on.
  const httplib::Headers headers = {{"Host", "localhost:" + std::to_string(listen.port)}};
  const httplib::Result answer = client.Get("/", headers);
  const bool serves = answer && answer->status == 200;
  std::cout << "denoise-viewer: port " << listen.port << " of " << host
            << (serves   ? " serves the page"
                : answer ? " answers " + std::to_string(answer->status)
                         : " does not answer")
            << std::endl;
  return serves ? 0 : 1;
}

}  // namespace denoise::viewer
