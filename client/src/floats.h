// float32 values and their little-endian bytes.
#ifndef DENOISE_CLIENT_FLOATS_H_
#define DENOISE_CLIENT_FLOATS_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace denoise {
inline namespace client_v1 {

// Turns the bytes of each float round on a machine that is not little-endian.
inline void SwapToLittleEndian(char* bytes, size_t size) {
  if constexpr (std::endian::native != std::endian::little) {
    for (size_t i = 0; i + 4 <= size; i += 4) std::reverse(bytes + i, bytes + i + 4);
  }
}

inline void FloatsToBytes(const std::vector<float>& values, std::string* bytes) {
  bytes->assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  SwapToLittleEndian(bytes->data(), bytes->size());
}

// `bytes`.size() is a multiple of 4.
inline std::vector<float> BytesToFloats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (values.empty()) return values;
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  SwapToLittleEndian(reinterpret_cast<char*>(values.data()), values.size() * sizeof(float));
  return values;
}

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_FLOATS_H_
