#include "server/model/folder/json_keys.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {

std::string Shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + "…";
  return text;
}

Keys::Keys(const Json& object, std::string path) : object_(object), path_(std::move(path)) {}

void Keys::Refuse(const char* key, absl::string_view wanted) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(
      object_.contains(key)
          ? absl::StrCat("model.json: ", path_, key, ": ", Shown(object_.at(key)), " is not ",
                         wanted)
          : absl::StrCat("model.json: ", path_, key, " is missing: it must be ", wanted));
}

void Keys::Refuse(const absl::Status& status) {
  if (status_.ok()) status_ = status;
}

const Json* Keys::Find(const char* key) {
  known_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::string> Keys::Text(const char* key, absl::string_view wanted,
                                      bool (*fits)(absl::string_view)) {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) {
    std::string text = value->get<std::string>();
    if (fits == nullptr || fits(text)) return text;
  }
  Refuse(key, wanted);
  return std::nullopt;
}

std::optional<int64_t> Keys::Integer(const char* key, int64_t least, int64_t most) {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto number = AsInteger(*value, least, most)) return number;
  Refuse(key, absl::StrCat("a whole number in ", least, "..", most));
  return std::nullopt;
}

std::optional<int64_t> Keys::AsInteger(const Json& value, int64_t least, int64_t most) {
  // An unsigned value past int64's range reads as negative.
  if (!value.is_number_integer()) return std::nullopt;
  const auto number = value.get<int64_t>();
  if (value.is_number_unsigned() && number < 0) return std::nullopt;
  return number >= least && number <= most ? std::optional(number) : std::nullopt;
}

std::vector<std::string> Keys::Unknown() const {
  std::vector<std::string> unknown;
  for (const auto& [key, value] : object_.items()) {
    if (!known_.contains(key)) unknown.push_back(absl::StrCat(path_, key));
  }
  return unknown;
}

}  // namespace denoise
