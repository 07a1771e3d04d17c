// How many files and sockets the process may have open, and who gets them.
#ifndef DENOISE_SERVER_DESCRIPTORS_H_
#define DENOISE_SERVER_DESCRIPTORS_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace denoise {

// Raises the limit to the highest that this process may have (ulimit -Hn); what it is then.
uint64_t RaiseDescriptorLimit();

// Connections of callers that `descriptors` allow, at most `wanted`: 128 are kept for models, logs,
// certificates, and the ports of metrics and ModelAdmin. INVALID_ARGUMENT where that leaves none.
absl::StatusOr<uint32_t> ConnectionsWithin(uint64_t descriptors, uint32_t wanted);

}  // namespace denoise

#endif  // DENOISE_SERVER_DESCRIPTORS_H_
