#include "client/viewer/access.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace denoise::viewer {

bool ParseHostPort(const std::string& text, HostPort* parsed) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  std::string host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (absl::StrContains(host, ":")) {
    return false;
  }
  int port = 0;
  if (host.empty() || !absl::SimpleAtoi(text.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return false;
  }
  *parsed = {host, port};
  return true;
}

std::set<std::string> AllowedHosts(const HostPort& listen, const std::set<std::string>& further) {
  std::set<std::string> hosts;
  const auto add = [&hosts, &listen](const std::string& name) {
    hosts.insert(absl::StrCat(name, ":", listen.port));
    if (listen.port == 80) hosts.insert(name);
  };
  add(absl::StrContains(listen.host, ":") ? absl::StrCat("[", listen.host, "]") : listen.host);
  for (const char* name : {"localhost", "127.0.0.1", "[::1]"}) add(name);
  for (const auto& name : further) {
    hosts.insert(name);
    add(name);
  }
  return hosts;
}

absl::Status CheckHost(const std::string& host, const std::set<std::string>& allowed) {
  if (allowed.count(host) > 0) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("the viewer is not known as '",
                                                  host.substr(0, 100),
                                                  "'; start it with --allow-host to name it so"));
}

absl::Status CheckOrigin(const std::string& origin, const std::string& host,
                         const std::string& content_type) {
  if (origin != absl::StrCat("http://", host) && origin != absl::StrCat("https://", host)) {
    return absl::PermissionDeniedError(absl::StrCat("a request from '", origin.substr(0, 100),
                                                    "' is not one of the viewer's own page"));
  }
  if (content_type != "application/json") {
    return absl::InvalidArgumentError(
        absl::StrCat("content-type: '", content_type.substr(0, 100), "' is not application/json"));
  }
  return absl::OkStatus();
}

}  // namespace denoise::viewer
