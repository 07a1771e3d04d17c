// Moving pictures.
#ifndef DENOISE_CLIENT_CLI_PICTURES_ANIMATION_H_
#define DENOISE_CLIENT_CLI_PICTURES_ANIMATION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cli/pictures/picture.h"

namespace denoise::cli {

struct Frame {
  Picture picture;
  absl::Duration duration;  // up to a minute
};

// Both loop for ever. The frames, at least one, are all of one size and number of channels.

// Greys are exact. RGB is brought to 252 colours by ordered dithering. INVALID_ARGUMENT above 65535
// pixels in a direction.
absl::StatusOr<std::string> EncodeGif(absl::Span<const Frame> frames);

// Exact. Viewers that know no animation show the first frame.
absl::StatusOr<std::string> EncodeApng(absl::Span<const Frame> frames);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_PICTURES_ANIMATION_H_
