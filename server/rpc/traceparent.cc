#include "server/rpc/traceparent.h"

#include <algorithm>

namespace denoise {
namespace {

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsId(absl::string_view text) {
  return IsHex(text) && text.find_first_not_of('0') != text.npos;
}

}  // namespace

// VERSION-TRACE-PARENT-FLAGS. Versions after 00 may have more behind a further hyphen; ff is none.
std::string TraceIdIn(absl::string_view traceparent) {
  constexpr size_t kLength = 55;
  if (traceparent.size() < kLength) return "";
  const absl::string_view version = traceparent.substr(0, 2);
  const absl::string_view trace = traceparent.substr(3, 32);
  const absl::string_view parent = traceparent.substr(36, 16);
  const absl::string_view flags = traceparent.substr(53, 2);
  if (traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-' ||
      !IsHex(version) || version == "ff" || !IsId(trace) || !IsId(parent) || !IsHex(flags)) {
    return "";
  }
  const bool longer = traceparent.size() > kLength;
  if (longer && (version == "00" || traceparent[kLength] != '-')) return "";
  return std::string(trace);
}

}  // namespace denoise
