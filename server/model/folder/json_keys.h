// Reads the keys of a JSON object, and says what is wrong with them.
#ifndef DENOISE_SERVER_MODEL_FOLDER_JSON_KEYS_H_
#define DENOISE_SERVER_MODEL_FOLDER_JSON_KEYS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace denoise {

using Json = nlohmann::json;

// A value as a message shows it, cut where it is long.
std::string Shown(const Json& value);

// The keys of an object of model.json; keeps the first thing that is wrong with one. A key whose
// value is null counts as absent. The object must outlive it.
class Keys {
 public:
  // `path`: before a key in messages, such as "inputs[1].".
  explicit Keys(const Json& object, std::string path = "");

  // OK, or INVALID_ARGUMENT with key, value and what would be right.
  const absl::Status& status() const { return status_; }

  // "KEY: VALUE is not WANTED", or "KEY is missing: it must be WANTED".
  void Refuse(const char* key, absl::string_view wanted);
  // Takes over what is wrong within a value.
  void Refuse(const absl::Status& status);

  // Null for a key that is absent.
  const Json* Find(const char* key);
  // Refuses what is no text, or does not fit; `fits` may be null.
  std::optional<std::string> Text(const char* key, absl::string_view wanted,
                                  bool (*fits)(absl::string_view));
  // Refuses what is no whole number in least..most.
  std::optional<int64_t> Integer(const char* key, int64_t least, int64_t most);

  static std::optional<int64_t> AsInteger(const Json& value, int64_t least, int64_t most);

  // Those that nobody asked for, with their path.
  std::vector<std::string> Unknown() const;

 private:
  const Json& object_;
  const std::string path_;
  std::set<std::string> known_;
  absl::Status status_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_FOLDER_JSON_KEYS_H_
