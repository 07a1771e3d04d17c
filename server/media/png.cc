#include "server/media/png.h"

#include <png.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// libpng's own limit; it also keeps products of sizes well within 64 bits.
constexpr int64_t kMaxSide = 1'000'000;

uint8_t ToByte(float value, float value_min, float scale) {
  const float scaled = (value - value_min) * scale;
  if (!(scaled > 0)) return 0;  // and NaN
  if (scaled >= 255) return 255;
  return static_cast<uint8_t>(std::lround(scaled));
}

}  // namespace

absl::StatusOr<std::string> EncodePng(absl::Span<const float> values, int64_t channels,
                                      int64_t height, int64_t width, float value_min,
                                      float value_max) {
  if (channels != 1 && channels != 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a PNG has 1 channel (grey) or 3 (RGB), a sample here has ", channels, ": ask for raw"));
  }
  if (height < 1 || height > kMaxSide || width < 1 || width > kMaxSide) {
    return absl::InvalidArgumentError(absl::StrCat("a PNG has sides from 1 to ", kMaxSide,
                                                   ", a sample here is ", height, "x", width));
  }
  const int64_t pixels = height * width;
  if (static_cast<int64_t>(values.size()) != channels * pixels) {
    return absl::InvalidArgumentError(absl::StrCat("a sample of shape [", channels, ", ", height,
                                                   ", ", width, "] has ", channels * pixels,
                                                   " values, not ", values.size()));
  }
  if (!(value_min < value_max)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the range of values ", value_min, "..", value_max, " is empty: must ascend"));
  }

  // Planes to pixels.
  const float scale = 255 / (value_max - value_min);
  std::vector<uint8_t> bytes(values.size());
  for (int64_t c = 0; c < channels; ++c) {
    const float* plane = values.data() + c * pixels;
    for (int64_t i = 0; i < pixels; ++i) {
      bytes[i * channels + c] = ToByte(plane[i], value_min, scale);
    }
  }

  // libpng's simplified interface: it keeps its longjmp to itself.
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  image.flags = PNG_IMAGE_FLAG_FAST;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string png(size, '\0');
  if (!png_image_write_to_memory(&image, png.data(), &size, /*convert_to_8bit=*/0, bytes.data(),
                                 /*row_stride=*/0, /*colormap=*/nullptr)) {
    const std::string message = image.message;
    png_image_free(&image);
    return absl::InternalError(absl::StrCat("PNG: ", message));
  }
  png.resize(size);
  return png;
}

}  // namespace denoise
