#include "server/rpc/access/peer_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace denoise {

std::string TenantOfPeer(absl::string_view peer) {
  absl::string_view host = peer.substr(0, peer.rfind(':'));
  if (absl::ConsumePrefix(&host, "ipv4:")) return std::string(host);
  if (!absl::ConsumePrefix(&host, "ipv6:")) return std::string(peer);
  // Brackets come as they are or in percent-encoding, and a zone after the address.
  std::string text = absl::StrReplaceAll(host, {{"%5B", ""}, {"%5D", ""}, {"[", ""}, {"]", ""}});
  text.resize(std::min(text.size(), text.find('%')));
  in6_addr address;
  if (inet_pton(AF_INET6, text.c_str(), &address) != 1) return text;
  std::fill(std::begin(address.s6_addr) + 8, std::end(address.s6_addr), 0);
  char network[INET6_ADDRSTRLEN];
  if (inet_ntop(AF_INET6, &address, network, sizeof(network)) == nullptr) return text;
  return absl::StrCat(network, "/64");
}

}  // namespace denoise
