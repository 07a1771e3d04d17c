// Numbers and their little-endian bytes.
#ifndef DENOISE_CLIENT_SRC_LITTLE_ENDIAN_H_
#define DENOISE_CLIENT_SRC_LITTLE_ENDIAN_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace denoise {
inline namespace client_v1 {

// Turns the bytes of each T round on a machine that is not little-endian.
template <typename T>
void SwapToLittleEndian(char* bytes, size_t size) {
  if constexpr (std::endian::native != std::endian::little) {
    for (size_t i = 0; i + sizeof(T) <= size; i += sizeof(T)) {
      std::reverse(bytes + i, bytes + i + sizeof(T));
    }
  }
}

template <typename T>
void ToBytes(const std::vector<T>& values, std::string* bytes) {
  bytes->assign(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  SwapToLittleEndian<T>(bytes->data(), bytes->size());
}

// `bytes`.size() is a multiple of sizeof(T).
template <typename T>
std::vector<T> FromBytes(const std::string& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (values.empty()) return values;
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  SwapToLittleEndian<T>(reinterpret_cast<char*>(values.data()), values.size() * sizeof(T));
  return values;
}

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_LITTLE_ENDIAN_H_
