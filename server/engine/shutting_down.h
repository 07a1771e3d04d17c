// The status of requests that arrive, wait or run while the server shuts down.
#ifndef DENOISE_SERVER_ENGINE_SHUTTING_DOWN_H_
#define DENOISE_SERVER_ENGINE_SHUTTING_DOWN_H_

#include "absl/status/status.h"

namespace denoise {

// UNAVAILABLE: the same request to another server is right.
inline absl::Status ShuttingDownError() {
  return absl::UnavailableError("the server is shutting down: send the request to another one");
}

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_SHUTTING_DOWN_H_
