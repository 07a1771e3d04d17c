// Samples as 8-bit pictures.
#ifndef DENOISE_CLIENT_CLI_PICTURES_PICTURE_H_
#define DENOISE_CLIENT_CLI_PICTURES_PICTURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace denoise::cli {

// Grey or RGB, rows from the top, channels interleaved.
struct Picture {
  int width = 0;
  int height = 0;
  int channels = 1;             // 1 or 3
  std::vector<uint8_t> pixels;  // [height, width, channels]
};

// The shape of one sample, [C, H, W], and the values that are black and white.
struct SampleFormat {
  int channels = 1;  // 1 or 3
  int height = 0;
  int width = 0;
  float value_min = -1;
  float value_max = 1;

  size_t size() const { return static_cast<size_t>(channels) * height * width; }
};

// value_min..value_max becomes 0..255, rounded; what lies outside is clamped, NaN is 0. `values`
// has format.size() of them.
Picture ToPicture(absl::Span<const float> values, const SampleFormat& format);

// The other way round.
std::vector<float> ToValues(const Picture& picture, const SampleFormat& format);

// A picture of format's size, all black.
Picture Blank(const SampleFormat& format);

// `pictures`, all of one size, in rows of `columns`, with `gap` pixels of grey between them; each
// pixel becomes scale × scale. Not empty.
Picture Grid(absl::Span<const Picture> pictures, int columns, int scale, int gap);

// The columns of a grid of `count` that is about square.
int SquareColumns(size_t count);

std::string EncodePng(const Picture& picture);

// Any PNG file, brought to `channels`; transparent parts are black. INVALID_ARGUMENT for what is no
// PNG.
absl::StatusOr<Picture> DecodePng(const std::string& bytes, int channels);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_PICTURES_PICTURE_H_
