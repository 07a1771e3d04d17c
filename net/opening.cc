#include "net/opening.h"

#include <cstdint>

#include "absl/strings/match.h"

namespace denoise {

Opening Http2Opening(absl::string_view bytes) {
  constexpr absl::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  if (absl::StartsWith(bytes, kPreface)) return Opening::kComplete;
  return absl::StartsWith(kPreface, bytes) ? Opening::kIncomplete : Opening::kWrong;
}

Opening TlsOpening(absl::string_view bytes) {
  constexpr size_t kHeaderBytes = 5;
  constexpr absl::string_view kHandshake = "\x16\x03";  // of SSL 3.1 and later, that is TLS
  if (!absl::StartsWith(bytes, kHandshake.substr(0, bytes.size()))) return Opening::kWrong;
  if (bytes.size() < kHeaderBytes) return Opening::kIncomplete;
  const size_t record =
      kHeaderBytes + static_cast<uint8_t>(bytes[3]) * size_t{256} + static_cast<uint8_t>(bytes[4]);
  if (record > kMaxOpeningBytes) return Opening::kWrong;
  return bytes.size() < record ? Opening::kIncomplete : Opening::kComplete;
}

Opening Http1Opening(absl::string_view bytes) {
  if (absl::StrContains(bytes, "\r\n\r\n")) return Opening::kComplete;
  return bytes.size() < kMaxOpeningBytes ? Opening::kIncomplete : Opening::kWrong;
}

}  // namespace denoise
