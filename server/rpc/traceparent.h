// W3C's trace context, as far as a log line needs it.
#ifndef DENOISE_SERVER_RPC_TRACEPARENT_H_
#define DENOISE_SERVER_RPC_TRACEPARENT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace denoise {

// The trace id of a `traceparent` header, 32 lower-case hexadecimal digits; empty where the header
// is not one (https://www.w3.org/TR/trace-context/, section 3.2).
std::string TraceIdIn(absl::string_view traceparent);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_TRACEPARENT_H_
