#include "client/cli/describe_model.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace denoise::cli {
namespace {

nlohmann::json ToJson(const TuningResult& way) {
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

// A line for each way that the server compared, beneath "runs as".
std::string DescribeTuning(const Model& model) {
  std::string text;
  for (const TuningResult& way : model.tuning) {
    absl::StrAppendFormat(&text, "\n  %-8s %s %s %s, %u x %u, %u rows: %.0f rows/s, %.2f ms a call",
                          text.empty() ? "tuning" : "", way.executor, way.precision, way.layout,
                          way.replicas, way.threads, way.batch_size, way.rows_per_second,
                          1e3 * way.call_seconds);
    if (way.relative_error > 0) absl::StrAppendFormat(&text, ", error %.1e", way.relative_error);
    if (way.chosen && model.tuning.size() > 1) text += ", chosen";
  }
  return text;
}

}  // namespace

nlohmann::json ToJson(const Model& model) {
  nlohmann::json inputs = nlohmann::json::array();
  for (const auto& input : model.inputs) {
    inputs.push_back({{"name", input.name},
                      {"kind", input.kind},
                      {"dtype", Name(input.dtype)},
                      {"shape", input.shape}});
  }
  nlohmann::json json = {
      {"name", model.name},
      {"version", model.version},
      {"status", Name(model.status)},
      {"sample_shape", model.sample_shape},
      {"value_range", {model.value_min, model.value_max}},
      {"num_classes", model.num_classes},
      {"null_class", nullptr},
      {"inputs", inputs},
      {"prediction_type", model.prediction_type},
      {"scheduler", model.scheduler},
      {"num_train_timesteps", model.num_train_timesteps},
      {"alpha_bars", model.alpha_bars},
      {"default_steps", model.default_steps},
      {"default_guidance_scale", model.default_guidance_scale},
      {"layout", model.layout},
      {"precision", model.precision},
      {"executor", model.executor},
      {"replicas", model.replicas},
      {"threads", model.threads},
      {"batch_sizes", model.batch_sizes},
      {"sha256", model.sha256},
      {"tuning", nlohmann::json::array()},
      {"numerics_id", model.numerics_id},
      {"decoder", nullptr},
  };
  if (model.has_decoder) {
    json["decoder"] = {{"shape", model.decoded_shape},
                       {"value_range", {model.decoded_value_min, model.decoded_value_max}}};
  }
  for (const TuningResult& way : model.tuning) json["tuning"].push_back(ToJson(way));
  if (model.null_class) json["null_class"] = *model.null_class;
  return json;
}

std::string Describe(const Model& model) {
  std::string classes = "unconditional";
  if (model.num_classes > 0) {
    classes = absl::StrCat(model.num_classes, " classes",
                           model.null_class ? ", can be guided" : ", no null class");
  }
  std::string inputs;
  for (const auto& input : model.inputs) {
    if (input.kind == "class_labels") continue;
    absl::StrAppend(&inputs, inputs.empty() ? "\n  inputs   " : ", ", input.name, " ",
                    Name(input.dtype), " [", absl::StrJoin(input.shape, ", "), "]");
  }
  std::string decoder;
  if (model.has_decoder) {
    decoder = absl::StrCat("\n  decoded  [", absl::StrJoin(model.decoded_shape, ", "), "] in ",
                           model.decoded_value_min, "..", model.decoded_value_max);
  }
  return absl::StrCat(
      model.name, "  version ", model.version, "  ", Name(model.status), "\n  samples  [",
      absl::StrJoin(model.sample_shape, ", "), "] in ", model.value_min, "..", model.value_max,
      ", ", classes, decoder, inputs, "\n  process  ", model.num_train_timesteps, " steps, ",
      model.scheduler, ", predicts ", model.prediction_type, "\n  defaults ", model.default_steps,
      " steps, guidance ", model.default_guidance_scale, "\n  runs as  ", model.executor, " ",
      model.precision, " ", model.layout, ", ", model.replicas, " replicas of ", model.threads,
      " threads, batches of ", absl::StrJoin(model.batch_sizes, ", "), DescribeTuning(model),
      "\n  numerics ", model.numerics_id);
}

}  // namespace denoise::cli
