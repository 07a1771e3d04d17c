// What a connection of a caller may do, and for how long.
#ifndef DENOISE_SERVER_RPC_CONNECTION_OPTIONS_H_
#define DENOISE_SERVER_RPC_CONNECTION_OPTIONS_H_

#include <cstdint>

namespace denoise {

// Times in seconds.
struct ConnectionOptions {
  uint32_t max_connections = 4096;
  uint32_t max_per_address = 512;
  uint32_t max_calls = 1024;  // at once, of one connection
  // To say what it speaks, and then for the handshake of TLS and HTTP/2.
  double handshake_timeout = 10;
  // Closed when it has had no call for so long. 0: never.
  double max_idle = 300;
  // Told to make no more calls when it is so old, and cut off with those that still run after the
  // grace. 0: never, either of them.
  double max_age = 600;
  double max_age_grace = 3600;
  // A connection that is silent for so long is pinged, and closed when it does not answer in time.
  double keepalive = 20;
  double keepalive_timeout = 10;
  // A connection that pings more often, while nothing else is sent, is closed at the fourth such
  // ping.
  double min_ping_interval = 5;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_CONNECTION_OPTIONS_H_
