#include "server/rpc/messages/text.h"

#include <cstdint>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace denoise {
namespace {

constexpr size_t kMaxQuotedBytes = 64;
constexpr char kEllipsis[] = "…";

// Length of the UTF-8 character that `text` begins with; 0 where there is none (RFC 3629, section
// 4: neither overlong forms nor surrogates).
size_t CharacterLength(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  size_t length;
  uint8_t low = 0x80, high = 0xBF;  // of the second byte
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return 0;
  }
  if (text.size() < length || byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

std::string Quote(absl::string_view text) {
  const bool cut = text.size() > kMaxQuotedBytes;
  return absl::StrCat("\"", absl::CEscape(text.substr(0, kMaxQuotedBytes)), cut ? kEllipsis : "",
                      "\"");
}

std::string OneLine(absl::string_view text, size_t max_bytes) {
  std::string line;
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    const auto first = static_cast<uint8_t>(text[0]);
    const bool printable = length > 1 || (length == 1 && first >= 0x20 && first != 0x7F);
    const std::string character =
        printable ? std::string(text.substr(0, length)) : absl::CEscape(text.substr(0, 1));
    if (line.size() + character.size() + sizeof(kEllipsis) > max_bytes) {
      return absl::StrCat(line, kEllipsis);
    }
    line += character;
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return line;
}

std::string WithoutPaths(absl::string_view text) {
  std::vector<absl::string_view> words = absl::StrSplit(text, ' ');
  for (absl::string_view& word : words) {
    const size_t begin = word.find_first_not_of("\"'(<[");
    const absl::string_view bare = begin == word.npos ? absl::string_view() : word.substr(begin);
    if ((bare.size() > 1 && bare[0] == '/') || absl::StrContains(word, "0x")) word = kEllipsis;
  }
  return absl::StrJoin(words, " ");
}

}  // namespace denoise
