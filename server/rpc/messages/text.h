// Text that others wrote, made fit for error messages and log lines.
#ifndef DENOISE_SERVER_RPC_MESSAGES_TEXT_H_
#define DENOISE_SERVER_RPC_MESSAGES_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace denoise {

// `text` in double quotes, everything but printable ASCII escaped, cut after 64 bytes.
std::string Quote(absl::string_view text);

// One line of valid UTF-8, at most `max_bytes` long: control characters and bytes that are not
// UTF-8 are escaped.
std::string OneLine(absl::string_view text, size_t max_bytes);

// Without what tells about the machine: words that are absolute paths or addresses become "…".
std::string WithoutPaths(absl::string_view text);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGES_TEXT_H_
