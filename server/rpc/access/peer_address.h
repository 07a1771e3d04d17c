// Where a call comes from.
#ifndef DENOISE_SERVER_RPC_ACCESS_PEER_ADDRESS_H_
#define DENOISE_SERVER_RPC_ACCESS_PEER_ADDRESS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace denoise {

// The host of a peer as gRPC writes it ("ipv4:10.0.0.7:40000", "ipv6:[2001:db8::7]:40000"): an
// address of IPv4, or of IPv6 the network that one host may use all addresses of,
// "2001:db8::/64". What is neither, such as a socket of this machine, is as gRPC writes it.
std::string TenantOfPeer(absl::string_view peer);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ACCESS_PEER_ADDRESS_H_
