#include "server/model/tuning/tuning_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace denoise {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr char kFormat[] = "denoised_tuning";
constexpr int kVersion = 1;
constexpr size_t kMostChoices = 64;

absl::Status About(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("--tune-cache ", path, ": ", what,
                   ": not used and left as it is; delete it, and the next start writes it again"));
}

json ToJson(const TuningResult& way) {
  return {{"executor", way.executor},
          {"layout", way.layout},
          {"precision", way.precision},
          {"replicas", way.replicas},
          {"threads", way.threads},
          {"batch_size", way.batch_size},
          {"rows_per_second", way.rows_per_second},
          {"call_seconds", way.call_seconds},
          {"relative_error", way.relative_error},
          {"chosen", way.chosen}};
}

json ToJson(const TuningKey& key, const TunedChoice& choice) {
  json entry = {{"key", key}, {"ways", json::array()}, {"batches", json::array()}};
  for (const TuningResult& way : choice.ways) entry["ways"].push_back(ToJson(way));
  for (const BatchTime& time : choice.times) {
    entry["batches"].push_back({{"rows", time.rows}, {"seconds", time.seconds}});
  }
  return entry;
}

TuningResult WayOf(const json& from) {
  TuningResult way;
  from.at("executor").get_to(way.executor);
  from.at("layout").get_to(way.layout);
  from.at("precision").get_to(way.precision);
  from.at("replicas").get_to(way.replicas);
  from.at("threads").get_to(way.threads);
  from.at("batch_size").get_to(way.batch_size);
  from.at("rows_per_second").get_to(way.rows_per_second);
  from.at("call_seconds").get_to(way.call_seconds);
  from.at("relative_error").get_to(way.relative_error);
  from.at("chosen").get_to(way.chosen);
  return way;
}

// Nothing where it is not what Put could have written: it may have been edited, or be hostile.
std::optional<TunedChoice> ChoiceOf(const json& entry) {
  TunedChoice choice;
  try {
    for (const json& way : entry.at("ways")) choice.ways.push_back(WayOf(way));
    for (const json& batch : entry.at("batches")) {
      choice.times.push_back({batch.at("rows").get<int64_t>(), batch.at("seconds").get<double>()});
    }
  } catch (const json::exception&) {
    return std::nullopt;
  }
  const auto usable = [](double figure) { return std::isfinite(figure) && figure > 0; };
  for (const TuningResult& way : choice.ways) {
    if (way.replicas < 1 || way.replicas > 9999 || way.threads < 1 || way.threads > 1024 ||
        way.batch_size < 1 || !usable(way.rows_per_second) || !usable(way.call_seconds)) {
      return std::nullopt;
    }
  }
  int64_t before = 0;
  for (const BatchTime& time : choice.times) {
    if (time.rows <= std::exchange(before, time.rows) || !usable(time.seconds)) return std::nullopt;
  }
  const auto chosen = std::count_if(choice.ways.begin(), choice.ways.end(),
                                    [](const TuningResult& way) { return way.chosen; });
  if (chosen != 1 || choice.times.empty() || before > 65536) return std::nullopt;
  return choice;
}

// The file's document; an empty one where there is no file.
absl::StatusOr<json> Read(const std::string& path) {
  const json none = {{kFormat, kVersion}, {"choices", json::array()}};
  std::error_code error;
  if (!fs::exists(path, error) && !error) return none;
  std::ifstream stream(path, std::ios::binary);
  if (!stream || !fs::is_regular_file(path, error)) return About(path, "it cannot be read");
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (stream.bad()) return About(path, "it cannot be read");
  if (text.empty()) return none;  // as mktemp makes it
  json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return About(path, "it is no JSON, or only the beginning of some");
  if (!document.is_object() || document.value(kFormat, json()) != kVersion ||
      !document.value("choices", json()).is_array()) {
    return About(path, "it is not what this version of denoised writes there");
  }
  return document;
}

absl::Status Unwritable(const std::string& path, const std::string& reason) {
  return absl::UnavailableError(
      absl::StrCat("--tune-cache ", path, ": it cannot be written (", reason,
                   "), so that the next start measures again: name a file in a folder where this "
                   "user may write"));
}

// Through a file beside it, so that nobody ever reads half of it.
absl::Status Write(const std::string& path, const std::string& text) {
  const std::string beside = absl::StrCat(path, ".", getpid(), ".tmp");
  std::error_code error;
  {
    errno = 0;
    std::ofstream stream(beside, std::ios::binary | std::ios::trunc);
    stream << text;
    stream.close();
    if (!stream) {
      error = std::error_code(errno, std::generic_category());
      std::error_code ignored;
      fs::remove(beside, ignored);
      return Unwritable(path, error.message());
    }
  }
  fs::rename(beside, path, error);
  if (!error) return absl::OkStatus();
  std::error_code ignored;
  fs::remove(beside, ignored);
  return Unwritable(path, error.message());
}

}  // namespace

const TuningResult& TunedChoice::chosen() const {
  return *std::find_if(ways.begin(), ways.end(),
                       [](const TuningResult& way) { return way.chosen; });
}

absl::StatusOr<std::optional<TunedChoice>> TuningCache::Find(const TuningKey& key) const {
  const absl::StatusOr<json> document = Read(path_);
  if (!document.ok()) return document.status();
  for (const json& entry : (*document)["choices"]) {
    if (!entry.is_object() || entry.value("key", json()) != json(key)) continue;
    std::optional<TunedChoice> choice = ChoiceOf(entry);
    if (!choice.has_value()) return About(path_, "what it says of this model is damaged");
    return choice;
  }
  return std::optional<TunedChoice>();
}

absl::Status TuningCache::Put(const TuningKey& key, const TunedChoice& choice) const {
  absl::StatusOr<json> document = Read(path_);
  if (!document.ok()) return document.status();
  json& choices = (*document)["choices"];
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].is_object() && choices[i].value("key", json()) != json(key)) continue;
    choices.erase(i--);
  }
  while (choices.size() >= kMostChoices) choices.erase(size_t{0});
  choices.push_back(ToJson(key, choice));
  return Write(path_, document->dump(1) + "\n");
}

}  // namespace denoise
