// `denoised --probe`: a health check for container runtimes, without another program in the image.
#ifndef DENOISE_SERVER_PROBE_H_
#define DENOISE_SERVER_PROBE_H_

#include <string>

#include "server/rpc/access/tls.h"

namespace denoise {

// Asks the server that listens on HOST:PORT `listen` (0.0.0.0 and [::] mean this machine) whether
// it is SERVING, says the answer on stdout, and returns the exit status: 0 if it is, 1 if not. With
// TLS it trusts just the certificate that the server was given, and, where callers need one, shows
// it as its own: --tls-client-ca must trust it too. Health needs no token.
int Probe(const std::string& listen, const CertificateFiles& tls);

}  // namespace denoise

#endif  // DENOISE_SERVER_PROBE_H_
