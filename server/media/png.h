// Pictures of samples.
#ifndef DENOISE_SERVER_MEDIA_PNG_H_
#define DENOISE_SERVER_MEDIA_PNG_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace denoise {

// Encodes one sample [C, H, W], C = 1 (grey) or 3 (RGB), as an 8-bit PNG; value_min..value_max
// becomes 0..255, rounded, what lies outside is clamped, NaN is 0. INVALID_ARGUMENT for another C
// or a wrong number of values. Thread-safe.
absl::StatusOr<std::string> EncodePng(absl::Span<const float> values, int64_t channels,
                                      int64_t height, int64_t width, float value_min,
                                      float value_max);

}  // namespace denoise

#endif  // DENOISE_SERVER_MEDIA_PNG_H_
