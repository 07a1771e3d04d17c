// `denoised --probe`: a health check for container runtimes, without another program in the image.
#ifndef DENOISE_SERVER_PROBE_H_
#define DENOISE_SERVER_PROBE_H_

#include <string>

namespace denoise {

// Asks the server that listens on HOST:PORT `listen` (0.0.0.0 and [::] mean this machine) whether
// it is SERVING, says the answer on stdout, and returns the exit status: 0 if it is, 1 if not.
int Probe(const std::string& listen);

}  // namespace denoise

#endif  // DENOISE_SERVER_PROBE_H_
