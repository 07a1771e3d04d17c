// Prints samplers' tables as JSON, for comparison with other implementations.
//
// Each line of the standard input is a request, each line of the standard output its answer:
//
//   {"config": {"_class_name": "DDIMScheduler"}, "learned_variance": false,
//    "sampler": {"kind": "ddim", "steps": 7, "eta": 0.5, "spacing": "leading", "sigmas": "karras",
//                "variance": "fixed_small", "clip_sample": true, "clip_sample_range": 1,
//                "use_clipped_model_output": false, "timesteps": [900, 400], "strength": 0.5,
//                "inpainting": true, "jump_length": 10, "jump_samples": 3, "thresholding": false,
//                "flow_shift": 3}}
//
// Only "config", the content of a scheduler_config.json (or its text, in a string), and "sampler"
// with "steps" or "timesteps" are required. The answer is the table (w with one line a register, an
// infinite noise_ratio as null), or {"error": "…"}.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "server/diffusion/sampler.h"
#include "server/diffusion/samplers/samplers.h"
#include "server/diffusion/scheduler_config.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

template <typename T>
std::optional<T> Get(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? std::nullopt : std::optional<T>(found->get<T>());
}

// The one of `values` that goes by the text at `key`. Throws if none does.
template <typename T>
std::optional<T> GetNamed(const Json& object, const char* key, std::initializer_list<T> values) {
  const std::optional<std::string> text = Get<std::string>(object, key);
  if (!text.has_value()) return std::nullopt;
  for (const T value : values) {
    if (Name(value) == *text) return value;
  }
  throw std::invalid_argument(std::string(key) + ": unknown value " + *text);
}

SamplerOptions ReadOptions(const Json& sampler) {
  SamplerOptions options;
  for (const SamplerSpec* spec : Samplers()) {
    if (Get<std::string>(sampler, "kind") == spec->name) options.kind = spec->kind;
  }
  if (sampler.contains("kind") && !options.kind.has_value()) {
    throw std::invalid_argument("kind: unknown value");
  }
  if (!sampler.contains("timesteps")) options.steps = sampler.at("steps").get<uint32_t>();
  options.eta = Get<double>(sampler, "eta").value_or(0);
  options.spacing =
      GetNamed(sampler, "spacing", {Spacing::kLeading, Spacing::kTrailing, Spacing::kLinspace});
  options.sigmas = GetNamed(
      sampler, "sigmas", {Sigmas::kSchedule, Sigmas::kKarras, Sigmas::kExponential, Sigmas::kBeta});
  options.variance = GetNamed(
      sampler, "variance",
      {Variance::kFixedSmall, Variance::kFixedLarge, Variance::kLearned, Variance::kLearnedRange});
  options.clip_sample = Get<bool>(sampler, "clip_sample");
  options.clip_sample_range = Get<double>(sampler, "clip_sample_range");
  options.use_clipped_model_output = Get<bool>(sampler, "use_clipped_model_output").value_or(false);
  options.timesteps = Get<std::vector<float>>(sampler, "timesteps").value_or(std::vector<float>());
  options.strength = Get<double>(sampler, "strength");
  options.inpainting = Get<bool>(sampler, "inpainting").value_or(false);
  options.jump_length = Get<uint32_t>(sampler, "jump_length").value_or(0);
  options.jump_samples = Get<uint32_t>(sampler, "jump_samples").value_or(0);
  options.thresholding = Get<bool>(sampler, "thresholding");
  options.flow_shift = Get<double>(sampler, "flow_shift");
  return options;
}

const char* BlendName(Blend blend) {
  switch (blend) {
    case Blend::kNone:
      return "none";
    case Blend::kKeptNoise:
      return "kept_noise";
    case Blend::kFreshNoise:
      return "fresh_noise";
    case Blend::kKnown:
      return "known";
  }
  return "?";
}

Json RowToJson(const Row& row, int registers) {
  Json json = {{"denoise", row.denoise},
               {"timestep", row.timestep},
               {"noise_ratio", row.noise_ratio},
               {"p", row.p},
               {"q", row.q},
               {"clip", row.clip},
               {"clip_range", row.clip_range},
               {"threshold", row.threshold},
               {"threshold_ratio", row.threshold_ratio},
               {"threshold_max", row.threshold_max},
               {"noise", row.noise},
               {"log_var_min", row.log_var_min},
               {"log_var_max", row.log_var_max},
               {"blend", BlendName(row.blend)},
               {"blend_alpha", row.blend_alpha},
               {"blend_sigma", row.blend_sigma},
               {"step", row.step},
               {"completes_step", row.completes_step},
               {"state_timestep", row.state_timestep},
               {"state_alpha_bar", row.state_alpha_bar},
               {"state_sigma", row.state_sigma}};
  switch (row.variance) {
    case RowVariance::kNone:
      json["variance"] = "none";
      break;
    case RowVariance::kLearned:
      json["variance"] = "learned";
      break;
    case RowVariance::kLearnedRange:
      json["variance"] = "learned_range";
      break;
  }
  for (int r = 0; r < registers; ++r) json["w"].push_back(row.w[r]);
  return json;
}

Json TableToJson(const Table& table) {
  Json json = {{"registers", table.registers},
               {"initial_scale", table.initial_scale},
               {"image_scale", table.image_scale},
               {"total_steps", table.total_steps},
               {"initial_timestep", table.initial_timestep},
               {"initial_alpha_bar", table.initial_alpha_bar},
               {"initial_sigma", table.initial_sigma},
               {"stochastic", table.stochastic},
               {"fractional_times", table.fractional_times},
               {"keeps_noise", table.keeps_noise},
               {"rows", Json::array()}};
  for (const Row& row : table.rows) json["rows"].push_back(RowToJson(row, table.registers));
  return json;
}

Json Answer(const Json& request) {
  const Json& file = request.at("config");
  const auto config =
      ParseSchedulerConfig(file.is_string() ? file.get<std::string>() : file.dump());
  if (!config.ok()) return {{"error", std::string(config.status().message())}};
  const auto table = MakeTable(*config, ScheduleOf(*config),
                               Get<bool>(request, "learned_variance").value_or(false),
                               ReadOptions(request.at("sampler")));
  if (!table.ok()) return {{"error", std::string(table.status().message())}};
  return TableToJson(*table);
}

}  // namespace
}  // namespace denoise

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    try {
      std::cout << denoise::Answer(nlohmann::json::parse(line)).dump() << '\n';
    } catch (const std::exception& error) {
      std::cerr << "dump_table: " << error.what() << " in: " << line << '\n';
      return 1;
    }
  }
  return 0;
}
