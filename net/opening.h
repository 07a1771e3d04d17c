// How a connection begins that means what the port is for.
#ifndef DENOISE_NET_OPENING_H_
#define DENOISE_NET_OPENING_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace denoise {

// What has come so far is...
enum class Opening {
  kIncomplete,  // the beginning of one
  kComplete,    // one, and perhaps more
  kWrong,       // something else
};

// No opening is longer; one that would be is wrong.
constexpr size_t kMaxOpeningBytes = 16 << 10;

// HTTP/2 by prior knowledge, as gRPC has it: the preface of RFC 9113, section 3.4.
Opening Http2Opening(absl::string_view bytes);
// TLS: the first record, which holds the ClientHello (RFC 8446, section 5.1).
Opening TlsOpening(absl::string_view bytes);
// HTTP/1: the request line and all header fields, up to the empty line.
Opening Http1Opening(absl::string_view bytes);

}  // namespace denoise

#endif  // DENOISE_NET_OPENING_H_
