// Who may talk to the viewer. It holds no secret, but stands where any page in the same browser can
// reach it.
#ifndef DENOISE_CLIENT_VIEWER_ACCESS_H_
#define DENOISE_CLIENT_VIEWER_ACCESS_H_

#include <set>
#include <string>

#include "absl/status/status.h"

namespace denoise::viewer {

// HOST:PORT of a flag; [ADDRESS]:PORT for IPv6.
struct HostPort {
  std::string host;
  int port = 0;  // 0..65535
};

// False where `text` is no HOST:PORT.
bool ParseHostPort(const std::string& text, HostPort* parsed);

// The names by which the viewer is reached: that which it listens on, localhost and its addresses
// where that is one of them, and those that were allowed besides (NAME or NAME:PORT).
std::set<std::string> AllowedHosts(const HostPort& listen, const std::set<std::string>& further);

// A name that was rebound to this address (DNS rebinding) is refused: PERMISSION_DENIED.
absl::Status CheckHost(const std::string& host, const std::set<std::string>& allowed);

// Of a request that does something: from the viewer's own page and as JSON, which no other page's
// form can send. PERMISSION_DENIED or INVALID_ARGUMENT.
absl::Status CheckOrigin(const std::string& origin, const std::string& host,
                         const std::string& content_type);

}  // namespace denoise::viewer

#endif  // DENOISE_CLIENT_VIEWER_ACCESS_H_
