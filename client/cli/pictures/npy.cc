#include "client/cli/pictures/npy.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace denoise::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "values are copied as they are");

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kMagicSize = 6;

absl::Status Bad(const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat("not an array that can be read: ", what,
                   "; write it with numpy.save(file, array.astype('<f4'))"));
}

// The header's dictionary, and where the values begin.
absl::StatusOr<std::pair<std::string, size_t>> ReadHeader(const std::string& bytes) {
  if (bytes.size() < 12 || bytes.compare(0, kMagicSize, kMagic, kMagicSize) != 0) {
    return Bad("it is no .npy file");
  }
  const auto byte = [&bytes](size_t i) { return static_cast<size_t>(uint8_t(bytes[i])); };
  const bool short_length = byte(6) == 1;
  const size_t begin = short_length ? 10 : 12;
  const size_t length = short_length ? byte(8) | byte(9) << 8
                                     : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  if (length > bytes.size() - begin || length > 4096) return Bad("its header is cut off");
  return std::make_pair(bytes.substr(begin, length), begin + length);
}

// What stands behind 'key': in the dictionary, between `open` and `close`.
std::optional<std::string> ValueOf(const std::string& header, const std::string& key,
                                   const std::string& open, const std::string& close) {
  const std::string quoted = absl::StrCat("'", key, "':");
  size_t begin = header.find(quoted);
  if (begin == header.npos) return std::nullopt;
  begin = header.find_first_not_of(' ', begin + quoted.size());
  if (begin == header.npos || header.compare(begin, open.size(), open) != 0) return std::nullopt;
  begin += open.size();
  const size_t end = header.find(close, begin);
  if (end == header.npos) return std::nullopt;
  return header.substr(begin, end - begin);
}

// Bytes of an element of NumPy's type `descr`; 0 for a type that is not read.
size_t ElementSize(const std::string& descr) {
  if (descr == "|b1") return 1;
  if (descr == "<f4") return 4;
  if (descr == "<f8" || descr == "<i8") return 8;
  return 0;
}

template <typename Stored, typename T>
std::vector<T> ReadValues(const std::string& bytes, size_t begin, size_t count) {
  std::vector<T> values(count);
  for (size_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + begin + i * sizeof(Stored), sizeof(Stored));
    values[i] = static_cast<T>(value);
  }
  return values;
}

Array::Values ReadValues(const std::string& descr, const std::string& bytes, size_t begin,
                         size_t count) {
  if (descr == "|b1") return ReadValues<uint8_t, bool>(bytes, begin, count);
  if (descr == "<i8") return ReadValues<int64_t, int64_t>(bytes, begin, count);
  if (descr == "<f8") return ReadValues<double, float>(bytes, begin, count);
  return ReadValues<float, float>(bytes, begin, count);
}

}  // namespace

std::string EncodeNpy(const Tensor& tensor) {
  // A tuple of one needs its comma.
  std::string header =
      absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (",
                   absl::StrJoin(tensor.shape, ", "), tensor.shape.size() == 1 ? "," : "", "), }");
  // Padded so that the values are aligned to 64 bytes.
  const size_t prefix = kMagicSize + 4;
  header.append(63 - (prefix + header.size()) % 64, ' ');
  header.push_back('\n');
  std::string bytes(kMagic, kMagicSize);
  bytes +=
      {'\x01', '\x00', static_cast<char>(header.size()), static_cast<char>(header.size() >> 8)};
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(tensor.values.data()),
               tensor.values.size() * sizeof(float));
  return bytes;
}

absl::StatusOr<Array> DecodeNpyArray(const std::string& bytes) {
  const auto header = ReadHeader(bytes);
  if (!header.ok()) return header.status();
  const auto& [text, begin] = *header;

  const auto descr = ValueOf(text, "descr", "'", "'");
  const auto order = ValueOf(text, "fortran_order", "", ",");
  const auto shape = ValueOf(text, "shape", "(", ")");
  if (!descr || !order || !shape) return Bad("its header is not understood");
  const size_t element = ElementSize(*descr);
  if (element == 0) {
    return Bad(absl::StrCat("its values are '", *descr, "', not float32, int64 or bool"));
  }
  if (*order != "False") return Bad("it is in Fortran's order");

  const size_t count = (bytes.size() - begin) / element;
  Array array;
  uint64_t product = 1;
  for (const auto part : absl::StrSplit(*shape, ',', absl::SkipWhitespace())) {
    int64_t extent = 0;
    if (!absl::SimpleAtoi(part, &extent) || extent <= 0 ||
        static_cast<uint64_t>(extent) > count / product) {
      return Bad(absl::StrCat("shape (", *shape, ") does not go with its size"));
    }
    product *= static_cast<uint64_t>(extent);
    array.shape.push_back(extent);
  }
  if (product * element != bytes.size() - begin) {
    return Bad(absl::StrCat("shape (", *shape, ") does not go with its size"));
  }
  array.values = ReadValues(*descr, bytes, begin, product);
  return array;
}

absl::StatusOr<Tensor> DecodeNpy(const std::string& bytes) {
  auto array = DecodeNpyArray(bytes);
  if (!array.ok()) return array.status();
  auto* values = std::get_if<std::vector<float>>(&array->values);
  if (values == nullptr) {
    return Bad(absl::StrCat("its values are ", Name(array->dtype()), ", not float32"));
  }
  return Tensor{std::move(array->shape), std::move(*values)};
}

}  // namespace denoise::cli
