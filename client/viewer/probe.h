// Whether a viewer answers, for HEALTHCHECK and the like.
#ifndef DENOISE_CLIENT_VIEWER_PROBE_H_
#define DENOISE_CLIENT_VIEWER_PROBE_H_

#include "client/viewer/access.h"

namespace denoise::viewer {

// Asks the viewer of this machine that listens on `listen` for its page, for 3 s at most; says on
// stdout how it went. The exit status: 0 where the page came. A server that is away is shown on the
// page and is no fault of the viewer's.
int Probe(const HostPort& listen);

}  // namespace denoise::viewer

#endif  // DENOISE_CLIENT_VIEWER_PROBE_H_
