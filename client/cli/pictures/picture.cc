#include "client/cli/pictures/picture.h"

#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace denoise::cli {
namespace {

constexpr uint8_t kGapGrey = 64;
// Of a decoded picture: more is a mistake or an attack.
constexpr uint64_t kMaxPixels = uint64_t{1} << 28;

uint8_t ToByte(float value, const SampleFormat& format) {
  const float unit = (value - format.value_min) / (format.value_max - format.value_min);
  if (!(unit > 0)) return 0;  // NaN too
  return static_cast<uint8_t>(std::lround(std::min(unit, 1.0f) * 255));
}

}  // namespace

Picture ToPicture(absl::Span<const float> values, const SampleFormat& format) {
  Picture picture = Blank(format);
  const size_t plane = static_cast<size_t>(format.height) * format.width;
  for (int c = 0; c < format.channels; ++c) {
    for (size_t i = 0; i < plane; ++i) {
      picture.pixels[i * format.channels + c] = ToByte(values[c * plane + i], format);
    }
  }
  return picture;
}

std::vector<float> ToValues(const Picture& picture, const SampleFormat& format) {
  std::vector<float> values(picture.pixels.size());
  const size_t plane = static_cast<size_t>(picture.height) * picture.width;
  for (int c = 0; c < picture.channels; ++c) {
    for (size_t i = 0; i < plane; ++i) {
      const float unit = picture.pixels[i * picture.channels + c] / 255.0f;
      values[c * plane + i] = format.value_min + unit * (format.value_max - format.value_min);
    }
  }
  return values;
}

Picture Blank(const SampleFormat& format) {
  return {format.width, format.height, format.channels, std::vector<uint8_t>(format.size())};
}

Picture Grid(absl::Span<const Picture> pictures, int columns, int scale, int gap) {
  const Picture& first = pictures.front();
  columns = std::min<int>(columns, static_cast<int>(pictures.size()));
  const int rows = (static_cast<int>(pictures.size()) + columns - 1) / columns;
  const int cell_width = first.width * scale;
  const int cell_height = first.height * scale;
  Picture grid{columns * cell_width + (columns - 1) * gap,
               rows * cell_height + (rows - 1) * gap,
               first.channels,
               {}};
  grid.pixels.assign(static_cast<size_t>(grid.width) * grid.height * grid.channels, kGapGrey);
  for (size_t i = 0; i < pictures.size(); ++i) {
    const int left = static_cast<int>(i % columns) * (cell_width + gap);
    const int top = static_cast<int>(i / columns) * (cell_height + gap);
    for (int y = 0; y < cell_height; ++y) {
      for (int x = 0; x < cell_width; ++x) {
        const size_t from = static_cast<size_t>(y / scale) * first.width + x / scale;
        const size_t to = static_cast<size_t>(top + y) * grid.width + left + x;
        std::copy_n(&pictures[i].pixels[from * grid.channels], grid.channels,
                    &grid.pixels[to * grid.channels]);
      }
    }
  }
  return grid;
}

int SquareColumns(size_t count) {
  return static_cast<int>(std::ceil(std::sqrt(static_cast<double>(count))));
}

std::string EncodePng(const Picture& picture) {
  png_image image;
  std::memset(&image, 0, sizeof image);
  image.version = PNG_IMAGE_VERSION;
  image.width = picture.width;
  image.height = picture.height;
  image.format = picture.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::string bytes(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
  png_alloc_size_t size = bytes.size();
  // Into memory that is large enough, nothing can fail but the memory.
  if (!png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.pixels.data(), 0,
                                 nullptr)) {
    size = 0;
  }
  bytes.resize(size);
  return bytes;
}

absl::StatusOr<Picture> DecodePng(const std::string& bytes, int channels) {
  png_image image;
  std::memset(&image, 0, sizeof image);
  image.version = PNG_IMAGE_VERSION;
  const auto bad = [&image] {
    const std::string why = image.message;
    png_image_free(&image);
    return absl::InvalidArgumentError(absl::StrCat("not a PNG picture: ", why));
  };
  if (!png_image_begin_read_from_memory(&image, bytes.data(), bytes.size())) return bad();
  if (uint64_t{image.width} * image.height > kMaxPixels) {
    png_image_free(&image);
    return absl::InvalidArgumentError("the picture is too large");
  }
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  Picture picture{static_cast<int>(image.width), static_cast<int>(image.height), channels,
                  std::vector<uint8_t>(PNG_IMAGE_SIZE(image))};
  const png_color black = {0, 0, 0};
  if (!png_image_finish_read(&image, &black, picture.pixels.data(), 0, nullptr)) return bad();
  return picture;
}

}  // namespace denoise::cli
