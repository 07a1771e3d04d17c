#include <gif_lib.h>

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/cli/pictures/animation.h"

namespace denoise::cli {
namespace {

// The colour cube of RGB pictures: 6 × 7 × 6 levels, green the finest, as the eye is.
constexpr int kLevels[3] = {6, 7, 6};

// Bayer's matrix, whose dither does not flicker from frame to frame.
constexpr int kBayer[4][4] = {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};

struct FreeColorMap {
  void operator()(ColorMapObject* map) const { GifFreeMapObject(map); }
};
using ColorMap = std::unique_ptr<ColorMapObject, FreeColorMap>;

ColorMap MakeColorMap(int channels) {
  ColorMap map(GifMakeMapObject(256, nullptr));
  if (map == nullptr) return map;
  for (int i = 0; i < 256; ++i) {
    GifColorType& color = map->Colors[i];
    if (channels == 1) {
      color.Red = color.Green = color.Blue = static_cast<GifByteType>(i);
      continue;
    }
    const int index = std::min(i, kLevels[0] * kLevels[1] * kLevels[2] - 1);
    const auto level = [](int value, int count) {
      return static_cast<GifByteType>(value * 255 / (count - 1));
    };
    color.Red = level(index / (kLevels[1] * kLevels[2]), kLevels[0]);
    color.Green = level(index / kLevels[2] % kLevels[1], kLevels[1]);
    color.Blue = level(index % kLevels[2], kLevels[2]);
  }
  return map;
}

uint8_t ColorIndex(const Picture& picture, int x, int y) {
  const uint8_t* pixel =
      &picture.pixels[(static_cast<size_t>(y) * picture.width + x) * picture.channels];
  if (picture.channels == 1) return *pixel;
  int index = 0;
  for (int c = 0; c < 3; ++c) {
    // Thresholds (b + ½)/16 within a level.
    const int steps = kLevels[c] - 1;
    const int level = (pixel[c] * steps * 32 + (2 * kBayer[y % 4][x % 4] + 1) * 255) / (255 * 32);
    index = index * kLevels[c] + std::min(level, steps);
  }
  return static_cast<uint8_t>(index);
}

int Append(GifFileType* gif, const GifByteType* bytes, int count) {
  static_cast<std::string*>(gif->UserData)
      ->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
  return count;
}

bool PutLoopForEver(GifFileType* gif) {
  const GifByteType loop[] = {1, 0, 0};  // sub-block 1: 0 repeats, that is, without end
  return EGifPutExtensionLeader(gif, APPLICATION_EXT_FUNC_CODE) == GIF_OK &&
         EGifPutExtensionBlock(gif, 11, "NETSCAPE2.0") == GIF_OK &&
         EGifPutExtensionBlock(gif, sizeof loop, loop) == GIF_OK &&
         EGifPutExtensionTrailer(gif) == GIF_OK;
}

bool PutFrame(GifFileType* gif, const Frame& frame) {
  GraphicsControlBlock control = {};
  control.DisposalMode = DISPOSE_DO_NOT;
  control.DelayTime = static_cast<int>(absl::ToInt64Milliseconds(frame.duration) / 10);
  control.TransparentColor = NO_TRANSPARENT_COLOR;
  GifByteType extension[4];
  const size_t size = EGifGCBToExtension(&control, extension);
  const Picture& picture = frame.picture;
  if (EGifPutExtension(gif, GRAPHICS_EXT_FUNC_CODE, static_cast<int>(size), extension) != GIF_OK ||
      EGifPutImageDesc(gif, 0, 0, picture.width, picture.height, false, nullptr) != GIF_OK) {
    return false;
  }
  std::vector<GifPixelType> line(picture.width);
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) line[x] = ColorIndex(picture, x, y);
    if (EGifPutLine(gif, line.data(), picture.width) != GIF_OK) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::string> EncodeGif(absl::Span<const Frame> frames) {
  const Picture& first = frames.front().picture;
  if (first.width > 65535 || first.height > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("a picture of ", first.width, "x", first.height,
                     " is too large for a GIF: ask for fewer samples, or for a .png"));
  }
  std::string bytes;
  int error = 0;
  GifFileType* gif = EGifOpen(&bytes, &Append, &error);
  const ColorMap colors = MakeColorMap(first.channels);
  if (gif == nullptr || colors == nullptr) {
    if (gif != nullptr) EGifCloseFile(gif, &error);
    return absl::ResourceExhaustedError("out of memory for the GIF");
  }
  EGifSetGifVersion(gif, true);
  bool ok = EGifPutScreenDesc(gif, first.width, first.height, 8, 0, colors.get()) == GIF_OK &&
            PutLoopForEver(gif);
  for (size_t i = 0; ok && i < frames.size(); ++i) ok = PutFrame(gif, frames[i]);
  if (!ok) error = gif->Error;
  int close_error = 0;
  if (EGifCloseFile(gif, &close_error) != GIF_OK && ok) {
    ok = false;
    error = close_error;
  }
  if (!ok) {
    const char* why = GifErrorString(error);
    return absl::InternalError(absl::StrCat("GIF: ", why != nullptr ? why : "unknown error"));
  }
  return bytes;
}

}  // namespace denoise::cli
