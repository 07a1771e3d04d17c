#include "server/diffusion/config_reader.h"

#include "absl/strings/str_cat.h"

namespace denoise {

const nlohmann::json* ConfigReader::Find(const char* key) {
  read_.insert(key);
  if (!status_.ok()) return nullptr;
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

void ConfigReader::Fail(const char* key, absl::string_view value, absl::string_view problem) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(absl::StrCat(where_(key), key, ": ", value, " ", problem));
}

std::string ConfigReader::Show(const nlohmann::json& value) {
  // Text that is not UTF-8 is replaced, where dump() would throw.
  std::string shown = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (shown.size() > 60) shown = shown.substr(0, 60) + "…";
  return shown;
}

void ConfigReader::FailType(const char* key, const nlohmann::json& value,
                            absl::string_view wanted) {
  Fail(key, Show(value), absl::StrCat("is not ", wanted));
}

std::optional<std::string> ConfigReader::Text(const char* key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  FailType(key, *value, "a text");
  return std::nullopt;
}

std::optional<bool> ConfigReader::Flag(const char* key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  FailType(key, *value, "true or false");
  return std::nullopt;
}

bool ConfigReader::Has(const char* key) {
  const nlohmann::json* value = Find(key);
  return value != nullptr && !value->is_null();
}

void ConfigReader::Only(const char* key, const nlohmann::json& served) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr || value->is_null() || *value == served) return;
  Fail(key, Show(*value), absl::StrCat("is not served; only ", Show(served), " is"));
}

bool ConfigReader::IsOn(const char* key) { return Has(key) && Flag(key).value_or(false); }

std::optional<int64_t> ConfigReader::Integer(const char* key, int64_t min, int64_t max) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  // An unsigned value past int64's range reads as negative, which is past `min` as well.
  if (value->is_number_integer()) {
    const auto number = value->get<int64_t>();
    if (number >= min && number <= max) return number;
  }
  FailType(key, *value, absl::StrCat("a whole number in ", min, "..", max));
  return std::nullopt;
}

std::optional<double> ConfigReader::Number(const char* key, double min, double max) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) {
    const auto number = value->get<double>();
    if (number > min && number < max) return number;
  }
  FailType(key, *value, absl::StrCat("a number between ", min, " and ", max));
  return std::nullopt;
}

std::optional<std::vector<double>> ConfigReader::Numbers(const char* key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_array()) {
    FailType(key, *value, "a list of numbers");
    return std::nullopt;
  }
  std::vector<double> numbers;
  numbers.reserve(value->size());
  for (const nlohmann::json& element : *value) {
    if (!element.is_number()) {
      FailType(key, element, "a number");
      return std::nullopt;
    }
    numbers.push_back(element.get<double>());
  }
  return numbers;
}

std::vector<std::string> ConfigReader::UnreadKeys() const {
  std::vector<std::string> unread;
  for (const auto& [key, value] : object_.items()) {
    if (!key.starts_with('_') && !read_.contains(key)) unread.push_back(key);
  }
  return unread;
}

}  // namespace denoise
