// GIF and APNG, read back by giflib and by hand.
#include "client/cli/pictures/animation.h"

#include <gif_lib.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise::cli {
namespace {

using ::testing::ElementsAre;

// Frames of `width` × 8 with a gradient that moves.
std::vector<Frame> Frames(int count, int channels, int width = 33) {
  std::vector<Frame> frames;
  for (int f = 0; f < count; ++f) {
    Picture picture{width, 8, channels, {}};
    for (int i = 0; i < width * 8 * channels; ++i) picture.pixels.push_back((i * 7 + f * 50) % 256);
    frames.push_back({picture, absl::Milliseconds(40)});
  }
  frames.back().duration = absl::Seconds(2);
  return frames;
}

struct Reader {
  const std::string* bytes;
  size_t at;
};

int Read(GifFileType* gif, GifByteType* out, int count) {
  auto* reader = static_cast<Reader*>(gif->UserData);
  const size_t n = std::min<size_t>(count, reader->bytes->size() - reader->at);
  std::memcpy(out, reader->bytes->data() + reader->at, n);
  reader->at += n;
  return static_cast<int>(n);
}

// The frames of a GIF as RGB, and their delays in 1/100 s.
struct DecodedGif {
  std::vector<std::vector<uint8_t>> frames;
  std::vector<int> delays;
};

DecodedGif DecodeGif(const std::string& bytes) {
  DecodedGif decoded;
  Reader reader{&bytes, 0};
  int error = 0;
  GifFileType* gif = DGifOpen(&reader, &Read, &error);
  if (gif == nullptr || DGifSlurp(gif) != GIF_OK) return decoded;
  for (int i = 0; i < gif->ImageCount; ++i) {
    const SavedImage& image = gif->SavedImages[i];
    auto& frame = decoded.frames.emplace_back();
    for (int p = 0; p < image.ImageDesc.Width * image.ImageDesc.Height; ++p) {
      const GifColorType& color = gif->SColorMap->Colors[image.RasterBits[p]];
      frame.insert(frame.end(), {color.Red, color.Green, color.Blue});
    }
    GraphicsControlBlock control;
    DGifSavedExtensionToGCB(gif, i, &control);
    decoded.delays.push_back(control.DelayTime);
  }
  DGifCloseFile(gif, &error);
  return decoded;
}

TEST(GifTest, GreysAreExact) {
  const auto frames = Frames(3, 1);
  const auto bytes = EncodeGif(frames);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->substr(0, 6), "GIF89a");
  EXPECT_NE(bytes->find("NETSCAPE2.0"), std::string::npos) << "loops";
  const auto decoded = DecodeGif(*bytes);
  ASSERT_EQ(decoded.frames.size(), 3u);
  EXPECT_THAT(decoded.delays, ElementsAre(4, 4, 200));
  for (size_t f = 0; f < 3; ++f) {
    std::vector<uint8_t> grey;
    for (size_t i = 0; i < decoded.frames[f].size(); i += 3) grey.push_back(decoded.frames[f][i]);
    EXPECT_EQ(grey, frames[f].picture.pixels);
  }
}

TEST(GifTest, ColoursAreNear) {
  const auto frames = Frames(2, 3);
  const auto bytes = EncodeGif(frames);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const auto decoded = DecodeGif(*bytes);
  ASSERT_EQ(decoded.frames.size(), 2u);
  for (size_t f = 0; f < 2; ++f) {
    const auto& pixels = frames[f].picture.pixels;
    ASSERT_EQ(decoded.frames[f].size(), pixels.size());
    for (size_t i = 0; i < pixels.size(); ++i) {
      EXPECT_LE(std::abs(decoded.frames[f][i] - pixels[i]), 51) << "one level of six";
    }
  }
}

TEST(GifTest, DitheringKeepsTheMean) {
  for (const int shade : {0, 25, 100, 128, 200, 255}) {
    const Picture flat{16, 16, 3, std::vector<uint8_t>(16 * 16 * 3, shade)};
    const auto decoded = DecodeGif(*EncodeGif(std::vector<Frame>{{flat, absl::Seconds(1)}}));
    ASSERT_EQ(decoded.frames.size(), 1u);
    double sum = 0;
    for (const uint8_t value : decoded.frames[0]) sum += value;
    EXPECT_NEAR(sum / static_cast<double>(decoded.frames[0].size()), shade, 2);
  }
}

TEST(GifTest, TooLarge) {
  const std::vector<Frame> frames = {
      {Picture{70000, 1, 1, std::vector<uint8_t>(70000)}, absl::Seconds(1)}};
  EXPECT_TRUE(absl::IsInvalidArgument(EncodeGif(frames).status()));
}

struct Chunk {
  std::string type;
  std::string data;
};

uint32_t Get32(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// Empty if a checksum is wrong.
std::vector<Chunk> ChunksOf(const std::string& png) {
  std::vector<Chunk> chunks;
  for (size_t at = 8; at + 12 <= png.size();) {
    const uint32_t size = Get32(png, at);
    const auto* checked = reinterpret_cast<const Bytef*>(png.data() + at + 4);
    if (crc32(0, checked, size + 4) != Get32(png, at + 8 + size)) return {};
    chunks.push_back({png.substr(at + 4, 4), png.substr(at + 8, size)});
    at += 12 + size;
  }
  return chunks;
}

// The pixels of concatenated IDAT data, undoing PNG's five line filters.
std::vector<uint8_t> Inflate(const std::string& data, const Picture& like) {
  const int stride = like.width * like.channels;
  std::vector<uint8_t> raw(static_cast<size_t>(stride + 1) * like.height);
  uLongf size = raw.size();
  if (uncompress(raw.data(), &size, reinterpret_cast<const Bytef*>(data.data()), data.size()) !=
          Z_OK ||
      size != raw.size()) {
    return {};
  }
  std::vector<uint8_t> pixels(static_cast<size_t>(stride) * like.height);
  for (int y = 0; y < like.height; ++y) {
    const uint8_t filter = raw[static_cast<size_t>(y) * (stride + 1)];
    for (int x = 0; x < stride; ++x) {
      const auto at = [&](int yy, int xx) {
        return yy < 0 || xx < 0 ? 0 : pixels[static_cast<size_t>(yy) * stride + xx];
      };
      const int a = at(y, x - like.channels), b = at(y - 1, x), c = at(y - 1, x - like.channels);
      const int p = a + b - c;
      const int pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
      const int paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      const int predictions[] = {0, a, b, (a + b) / 2, paeth};
      pixels[static_cast<size_t>(y) * stride + x] = static_cast<uint8_t>(
          raw[static_cast<size_t>(y) * (stride + 1) + 1 + x] + predictions[filter % 5]);
    }
  }
  return pixels;
}

class ApngTest : public ::testing::TestWithParam<int> {};

TEST_P(ApngTest, IsAPngWithEveryFrameInIt) {
  const auto frames = Frames(3, GetParam(), 200);
  const auto bytes = EncodeApng(frames);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  // To those who know no animation it is its first frame.
  const auto still = DecodePng(*bytes, GetParam());
  ASSERT_TRUE(still.ok()) << still.status();
  EXPECT_EQ(still->pixels, frames[0].picture.pixels);

  const auto chunks = ChunksOf(*bytes);
  ASSERT_FALSE(chunks.empty());
  EXPECT_EQ(chunks.front().type, "IHDR");
  EXPECT_EQ(chunks.back().type, "IEND");
  uint32_t sequence = 0;
  std::vector<std::string> data;
  std::vector<uint32_t> delays;
  for (const auto& [type, payload] : chunks) {
    if (type == "acTL") {
      EXPECT_EQ(Get32(payload, 0), 3u);
      EXPECT_EQ(Get32(payload, 4), 0u) << "loops for ever";
    } else if (type == "fcTL") {
      ASSERT_EQ(payload.size(), 26u);
      EXPECT_EQ(Get32(payload, 0), sequence++);
      EXPECT_EQ(Get32(payload, 4), 200u);
      EXPECT_EQ(Get32(payload, 8), 8u);
      delays.push_back(Get32(payload, 20) >> 16);
      EXPECT_EQ(Get32(payload, 20) & 0xffff, 1000u);
      data.emplace_back();
    } else if (type == "IDAT") {
      ASSERT_EQ(data.size(), 1u);
      data[0] += payload;
    } else if (type == "fdAT") {
      EXPECT_EQ(Get32(payload, 0), sequence++);
      data.back() += payload.substr(4);
    }
  }
  EXPECT_THAT(delays, ElementsAre(40, 40, 2000));
  ASSERT_EQ(data.size(), 3u);
  for (size_t f = 0; f < 3; ++f) {
    EXPECT_EQ(Inflate(data[f], frames[f].picture), frames[f].picture.pixels);
  }
}

INSTANTIATE_TEST_SUITE_P(GreyAndColour, ApngTest, ::testing::Values(1, 3));

}  // namespace
}  // namespace denoise::cli
