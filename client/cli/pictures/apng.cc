// libpng writes no APNG, so each frame is written as a PNG and their chunks are put together.
// Chunks acTL, fcTL and fdAT: PNG specification, third edition, section 11.3.6.
#include <zlib.h>

#include <cstdint>

#include "client/cli/pictures/animation.h"

namespace denoise::cli {
namespace {

constexpr size_t kSignatureSize = 8;

void Put32(uint32_t value, std::string* out) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

void Put16(uint32_t value, std::string* out) {
  out->push_back(static_cast<char>(value >> 8));
  out->push_back(static_cast<char>(value));
}

uint32_t Get32(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

void PutChunk(const std::string& type, const std::string& data, std::string* out) {
  Put32(static_cast<uint32_t>(data.size()), out);
  const size_t begin = out->size();
  *out += type;
  *out += data;
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(out->data() + begin),
                          static_cast<uInt>(out->size() - begin));
  Put32(static_cast<uint32_t>(crc), out);
}

struct Chunk {
  std::string type;
  std::string data;
};

// Of what libpng has written.
std::vector<Chunk> ChunksOf(const std::string& png) {
  std::vector<Chunk> chunks;
  for (size_t at = kSignatureSize; at + 12 <= png.size();) {
    const size_t size = Get32(png, at);
    chunks.push_back({png.substr(at + 4, 4), png.substr(at + 8, size)});
    at += 12 + size;
  }
  return chunks;
}

std::string FrameControl(uint32_t sequence, const Frame& frame) {
  std::string data;
  Put32(sequence, &data);
  Put32(static_cast<uint32_t>(frame.picture.width), &data);
  Put32(static_cast<uint32_t>(frame.picture.height), &data);
  Put32(0, &data);  // left
  Put32(0, &data);  // top
  Put16(static_cast<uint32_t>(absl::ToInt64Milliseconds(frame.duration)), &data);
  Put16(1000, &data);
  data.push_back(0);  // leave it there
  data.push_back(0);  // over what was there
  return data;
}

}  // namespace

absl::StatusOr<std::string> EncodeApng(absl::Span<const Frame> frames) {
  std::string out;
  uint32_t sequence = 0;
  for (size_t i = 0; i < frames.size(); ++i) {
    const std::string png = EncodePng(frames[i].picture);
    if (png.empty()) return absl::ResourceExhaustedError("out of memory for the PNG");
    if (i == 0) out = png.substr(0, kSignatureSize);
    bool control_put = false;
    for (const auto& [type, data] : ChunksOf(png)) {
      const bool is_data = type == "IDAT";
      if (is_data && !control_put) {
        if (i == 0) {
          std::string control;
          Put32(static_cast<uint32_t>(frames.size()), &control);
          Put32(0, &control);  // without end
          PutChunk("acTL", control, &out);
        }
        PutChunk("fcTL", FrameControl(sequence++, frames[i]), &out);
        control_put = true;
      }
      if (is_data && i > 0) {
        std::string numbered;
        Put32(sequence++, &numbered);
        PutChunk("fdAT", numbered + data, &out);
      } else if (i == 0 && type != "IEND") {
        PutChunk(type, data, &out);
      }
    }
  }
  PutChunk("IEND", "", &out);
  return out;
}

}  // namespace denoise::cli
