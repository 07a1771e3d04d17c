// Reads a flat JSON object key by key, with errors that name key and value.
#ifndef DENOISE_SERVER_DIFFUSION_CONFIG_READER_H_
#define DENOISE_SERVER_DIFFUSION_CONFIG_READER_H_

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace denoise {

// Of num_train_timesteps: more than any model uses, and few enough for a table with a row for each.
inline constexpr int64_t kMaxTrainTimesteps = 100'000;

// Keeps the first error, after which every answer is nullopt: so a caller reads all keys and looks
// at status() once. A key that is absent is nullopt too, and no error.
class ConfigReader {
 public:
  // `object` must be a JSON object and outlive the reader. Errors about a key begin with
  // `where(key)`.
  ConfigReader(const nlohmann::json& object, std::function<std::string(const char* key)> where)
      : object_(object), where_(std::move(where)) {}

  std::optional<std::string> Text(const char* key);
  std::optional<bool> Flag(const char* key);
  // Whether the key is there and not null.
  bool Has(const char* key);
  // Notes an error if the key is there with another value than null or `served`.
  void Only(const char* key, const nlohmann::json& served);
  // Whether the key is there and true; it may also be false or null.
  bool IsOn(const char* key);
  std::optional<int64_t> Integer(const char* key, int64_t min, int64_t max);
  // A number with `min` < number < `max`.
  std::optional<double> Number(const char* key, double min, double max);
  // null is taken as absent.
  std::optional<std::vector<double>> Numbers(const char* key);
  // A text that is one of the names.
  template <typename T>
  std::optional<T> OneOf(const char* key, absl::Span<const std::pair<const char*, T>> choices);

  // Notes an error about a key's value, if it is the first.
  void Fail(const char* key, absl::string_view value, absl::string_view problem);

  const absl::Status& status() const { return status_; }
  // Keys that no call has asked for, in alphabetical order, but for those that begin with an
  // underscore: they are notes of the program that wrote the file.
  std::vector<std::string> UnreadKeys() const;

 private:
  // The key's value; nullptr where it is absent or an error is noted already.
  const nlohmann::json* Find(const char* key);
  // As JSON, cut where it is long.
  static std::string Show(const nlohmann::json& value);
  void FailType(const char* key, const nlohmann::json& value, absl::string_view wanted);

  const nlohmann::json& object_;
  const std::function<std::string(const char* key)> where_;
  std::set<std::string> read_;
  absl::Status status_;
};

template <typename T>
std::optional<T> ConfigReader::OneOf(const char* key,
                                     absl::Span<const std::pair<const char*, T>> choices) {
  const std::optional<std::string> text = Text(key);
  if (!text.has_value()) return std::nullopt;
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (*text == name) return choice;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  Fail(key, '"' + *text + '"', "is not one of " + names);
  return std::nullopt;
}

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_CONFIG_READER_H_
