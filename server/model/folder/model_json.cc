#include "server/model/folder/model_json.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/sampler.h"
#include "server/diffusion/scheduler_config.h"
#include "server/model/folder/json_keys.h"
#include "server/model/folder/model_json_inputs.h"

namespace denoise {
namespace {

constexpr int64_t kMostClasses = int64_t{1} << 31;

void ReadShape(Keys& keys, ModelInfo* info) {
  const Json* value = keys.Find("sample_shape");
  int64_t sizes[3] = {0, 0, 0};
  bool good = value != nullptr && value->is_array() && value->size() == 3;
  int64_t left = kMostValues;
  for (size_t i = 0; good && i < 3; ++i) {
    const auto size = Keys::AsInteger((*value)[i], 1, left);
    good = size.has_value();
    if (!good) break;
    sizes[i] = *size;
    left /= *size;
  }
  if (!good) {
    keys.Refuse("sample_shape", absl::StrCat("[C, H, W], whole numbers from 1 on, ", kMostValues,
                                             " values at most"));
    return;
  }
  info->shape = {sizes[0], sizes[1], sizes[2]};
}

void ReadRange(Keys& keys, float* least, float* most) {
  const Json* value = keys.Find("value_range");
  if (value == nullptr) return;
  if (value->is_array() && value->size() == 2 && (*value)[0].is_number() &&
      (*value)[1].is_number()) {
    *least = (*value)[0].get<float>();
    *most = (*value)[1].get<float>();
    if (std::isfinite(*least) && std::isfinite(*most) && *least < *most) return;
  }
  keys.Refuse("value_range", "[min, max], finite numbers with min < max");
}

void ReadClasses(Keys& keys, ModelInfo* info) {
  info->num_classes = keys.Integer("num_classes", 0, kMostClasses).value_or(0);
  info->null_class = keys.Integer("null_class", 0, kMostClasses);
  if (info->null_class.has_value() && info->num_classes == 0) {
    keys.Refuse("null_class", "of use without num_classes: leave it out, or say how many classes");
  }
}

bool HasNull(const ModelInfo& info) {
  return info.null_class.has_value() ||
         std::any_of(info.inputs.begin(), info.inputs.end(),
                     [](const ModelInput& input) { return input.null_value.has_value(); });
}

void ReadDefaults(Keys& keys, int64_t train_steps, ModelInfo* info) {
  if (const auto name = keys.Text("default_sampler", "a text", nullptr)) {
    std::vector<std::string> names;
    for (const SamplerKind kind : AllSamplers()) {
      names.emplace_back(Name(kind));
      if (*name == names.back()) info->default_sampler = kind;
    }
    if (!info->default_sampler.has_value()) {
      keys.Refuse("default_sampler", absl::StrCat("one of ", absl::StrJoin(names, ", ")));
    }
  }
  info->default_steps = static_cast<uint32_t>(
      keys.Integer("default_steps", 1, train_steps).value_or(std::min<int64_t>(50, train_steps)));

  const Json* scale = keys.Find("default_guidance_scale");
  if (scale == nullptr) return;
  constexpr float kMost = 100;
  const float guidance = scale->is_number() ? scale->get<float>() : -1;
  if (!(guidance >= 0 && guidance <= kMost)) {
    keys.Refuse("default_guidance_scale", absl::StrCat("a number in 0..", kMost));
  } else if (guidance != 0 && guidance != 1 && !HasNull(*info)) {
    keys.Refuse("default_guidance_scale",
                "possible without null_class: leave it out, or name the label that means none (or "
                "the null of a condition)");
  }
  info->default_guidance_scale = guidance;
}

bool IsSha256(absl::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), absl::ascii_isxdigit);
}

void ReadDecoder(Keys& keys, ModelInfo* info, std::vector<std::string>* ignored) {
  const Json* value = keys.Find("decoder");
  if (value == nullptr) return;
  if (!value->is_object()) {
    keys.Refuse("decoder", "an object with value_range and sha256 of decoder.pt");
    return;
  }
  Keys inner(*value, "decoder.");
  DecoderInfo& decoder = info->decoder.emplace();
  ReadRange(inner, &decoder.format.value_min, &decoder.format.value_max);
  decoder.sha256 =
      absl::AsciiStrToLower(inner.Text("sha256", "64 hexadecimal digits", &IsSha256).value_or(""));
  keys.Refuse(inner.status());
  for (std::string& key : inner.Unknown()) ignored->push_back(std::move(key));
}

absl::StatusOr<Json> Parse(absl::string_view json) {
  try {
    Json object = Json::parse(json.begin(), json.end());
    if (object.is_object()) return object;
    return absl::InvalidArgumentError("model.json: is no JSON object");
  } catch (const Json::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat("model.json: is no JSON: byte ", error.byte,
                                                   " of ", json.size(),
                                                   " is where it stops being so"));
  }
}

}  // namespace

bool IsModelName(absl::string_view name) {
  return !name.empty() && name.size() <= 128 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

absl::StatusOr<ModelInfo> ParseModelJson(absl::string_view json, int64_t train_steps,
                                         std::vector<std::string>* ignored_keys) {
  const absl::StatusOr<Json> object = Parse(json);
  if (!object.ok()) return object.status();
  Keys keys(*object);
  ModelInfo info;
  info.name = keys.Text("name", "1 to 128 of A-Z a-z 0-9 . _ -, the first no dot", &IsModelName)
                  .value_or("");
  ReadShape(keys, &info);
  ReadRange(keys, &info.value_min, &info.value_max);
  ReadClasses(keys, &info);
  std::vector<std::string> ignored;
  ReadInputs(keys, &info, &ignored);
  ReadDecoder(keys, &info, &ignored);
  ReadDefaults(keys, train_steps, &info);
  info.sha256 =
      absl::AsciiStrToLower(keys.Text("sha256", "64 hexadecimal digits", &IsSha256).value_or(""));
  info.package_sha256 = absl::AsciiStrToLower(
      keys.Text("sha256_pt2", "64 hexadecimal digits", &IsSha256).value_or(""));
  info.levels = keys.Integer("levels", 2, int64_t{1} << 32).value_or(0);
  keys.Text("data", "a text", nullptr);
  keys.Text("licence", "a text", nullptr);
  if (!keys.status().ok()) return keys.status();
  *ignored_keys = keys.Unknown();
  ignored_keys->insert(ignored_keys->end(), ignored.begin(), ignored.end());
  return info;
}

}  // namespace denoise
