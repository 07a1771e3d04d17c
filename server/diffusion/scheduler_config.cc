#include "server/diffusion/scheduler_config.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/beta_config.h"
#include "server/diffusion/config_reader.h"
#include "server/diffusion/flow_config.h"
#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename T>
using Choices = std::pair<const char*, T>;

constexpr Choices<Prediction> kPredictions[] = {{"epsilon", Prediction::kEpsilon},
                                                {"v_prediction", Prediction::kV},
                                                {"sample", Prediction::kSample},
                                                {"flow_prediction", Prediction::kFlow}};

constexpr Choices<Spacing> kSpacings[] = {{"leading", Spacing::kLeading},
                                          {"trailing", Spacing::kTrailing},
                                          {"linspace", Spacing::kLinspace}};

// The first of several names for a value is the one that it is shown by. The _log forms are other
// ways to compute the same variance.
constexpr Choices<Variance> kVariances[] = {{"fixed_small", Variance::kFixedSmall},
                                            {"fixed_large", Variance::kFixedLarge},
                                            {"learned", Variance::kLearned},
                                            {"learned_range", Variance::kLearnedRange},
                                            {"fixed_small_log", Variance::kFixedSmall},
                                            {"fixed_large_log", Variance::kFixedLarge}};

constexpr Choices<Sigmas> kSigmas[] = {{"schedule", Sigmas::kSchedule},
                                       {"karras", Sigmas::kKarras},
                                       {"exponential", Sigmas::kExponential},
                                       {"beta", Sigmas::kBeta}};

constexpr Choices<Sigmas> kSigmasSwitches[] = {{"use_karras_sigmas", Sigmas::kKarras},
                                               {"use_exponential_sigmas", Sigmas::kExponential},
                                               {"use_beta_sigmas", Sigmas::kBeta}};

constexpr Choices<FinalSigma> kFinalSigmas[] = {{"zero", FinalSigma::kZero},
                                                {"sigma_min", FinalSigma::kSigmaMin}};

constexpr Choices<SolverType> kSolverTypes[] = {{"midpoint", SolverType::kMidpoint},
                                                {"heun", SolverType::kHeun},
                                                {"bh1", SolverType::kBh1},
                                                {"bh2", SolverType::kBh2},
                                                {"logrho", SolverType::kLogRho}};

enum class Algorithm { kDpmSolver, kDpmSolverPp, kSdeDpmSolver, kSdeDpmSolverPp, kDeis };

constexpr Choices<Algorithm> kAlgorithms[] = {{"dpmsolver++", Algorithm::kDpmSolverPp},
                                              {"sde-dpmsolver++", Algorithm::kSdeDpmSolverPp},
                                              {"deis", Algorithm::kDeis},
                                              {"dpmsolver", Algorithm::kDpmSolver},
                                              {"sde-dpmsolver", Algorithm::kSdeDpmSolver}};

template <typename T, size_t n>
absl::string_view NameIn(const Choices<T> (&choices)[n], T value) {
  for (const auto& [name, choice] : choices) {
    if (choice == value) return name;
  }
  return "?";
}

// The first of the samplers that go by the file's class. The one class that flow models alone have
// goes by Euler's method.
const SamplerSpec* ReadClass(ConfigReader* reader) {
  std::vector<absl::string_view> served;
  const std::optional<std::string> name = reader->Text("_class_name");
  if (name == kFlowClass) return &kEuler;
  for (const SamplerSpec* spec : Samplers()) {
    if (name == spec->class_name) return spec;
    // Samplers that share a class stand side by side.
    if (served.empty() || served.back() != spec->class_name) served.push_back(spec->class_name);
  }
  served.push_back(kFlowClass);
  // A missing name, too; after an error that Text noted this is without effect.
  reader->Fail(
      "_class_name", name.has_value() ? absl::StrCat("\"", *name, "\"") : "(missing)",
      absl::StrCat("is not a scheduler that is served; served are ", absl::StrJoin(served, ", "),
                   ". The betas do not depend on it: name one of these if the model may "
                   "be sampled so"));
  return nullptr;
}

// Other settings of the classes, of which one value is served.
void RefuseUnservedValues(ConfigReader* reader) {
  reader->Only("interpolation_type", "linear");
  reader->Only("timestep_type", "discrete");
  reader->Only("use_lu_lambdas", false);
  reader->Only("lambda_min_clipped", "-Infinity");
  reader->Only("predict_x0", true);
  reader->Only("solver_p", nullptr);
  reader->Only("disable_corrector", nlohmann::json::array());
}

void ReadSigmas(ConfigReader* reader, SchedulerConfig* config) {
  const char* on = nullptr;
  for (const auto& [key, sigmas] : kSigmasSwitches) {
    if (!reader->IsOn(key)) continue;
    if (on != nullptr) reader->Fail(key, "true", absl::StrCat("contradicts ", on, ", also true"));
    on = key;
    config->sigmas = sigmas;
  }
  if (reader->Has("sigma_min")) config->sigma_min = reader->Number("sigma_min", 0, kInfinity);
  if (reader->Has("sigma_max")) config->sigma_max = reader->Number("sigma_max", 0, kInfinity);
  config->final_sigma = reader->OneOf<FinalSigma>("final_sigmas_type", kFinalSigmas);
}

void ReadBounds(ConfigReader* reader, SchedulerConfig* config) {
  config->clip_sample = reader->Flag("clip_sample");
  config->clip_sample_range = reader->Number("clip_sample_range", 0, kInfinity);
  if (reader->Has("thresholding")) config->thresholding = reader->Flag("thresholding");
  if (reader->Has("dynamic_thresholding_ratio")) {
    double& ratio = config->dynamic_thresholding_ratio;
    ratio = reader->Number("dynamic_thresholding_ratio", 0, kInfinity).value_or(ratio);
    if (ratio > 1) {
      reader->Fail("dynamic_thresholding_ratio", absl::StrCat(ratio),
                   "is not a number above 0 and at most 1");
    }
  }
  if (reader->Has("sample_max_value")) {
    double& max = config->sample_max_value;
    max = reader->Number("sample_max_value", 0, kInfinity).value_or(max);
    if (max < 1) {
      reader->Fail("sample_max_value", absl::StrCat(max), "is not a number of at least 1");
    }
  }
}

// The multistep solvers' keys; `*kind` is the first of the samplers that go by the file's class.
void ReadSolver(ConfigReader* reader, SchedulerConfig* config, SamplerKind* kind) {
  config->solver_order = reader->Integer("solver_order", 1, 3);
  config->solver_type = reader->OneOf<SolverType>("solver_type", kSolverTypes);
  config->lower_order_final = reader->Flag("lower_order_final");
  config->euler_at_final = reader->Flag("euler_at_final");
  const std::optional<Algorithm> algorithm =
      reader->OneOf<Algorithm>("algorithm_type", kAlgorithms);
  config->skip_prk_steps = reader->Flag("skip_prk_steps");
  if (*kind != SamplerKind::kDpmpp2M) return;
  const bool third = config->solver_order == 3;
  switch (algorithm.value_or(Algorithm::kDpmSolverPp)) {
    case Algorithm::kDpmSolverPp:
    case Algorithm::kDeis:  // As diffusers takes it.
      if (third) *kind = SamplerKind::kDpmpp3M;
      break;
    case Algorithm::kSdeDpmSolverPp:
      *kind = SamplerKind::kSdeDpmpp2M;
      if (third)
        reader->Fail("solver_order", "3", "with sde-dpmsolver++ is not served; set it to 2");
      break;
    case Algorithm::kDpmSolver:
      reader->Fail("algorithm_type", "\"dpmsolver\"", "is not served; set it to dpmsolver++");
      break;
    case Algorithm::kSdeDpmSolver:
      reader->Fail("algorithm_type", "\"sde-dpmsolver\"",
                   "is not served; set it to sde-dpmsolver++");
      break;
  }
}

// Python's json module writes infinities and NaN, which are no JSON, as words: they become texts.
std::string QuoteNonFinite(absl::string_view json) {
  std::string quoted;
  bool in_text = false;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '"') in_text = !in_text;
    if (in_text && json[i] == '\\') {
      absl::StrAppend(&quoted, json.substr(i, 2));
      ++i;
      continue;
    }
    bool replaced = false;
    for (const absl::string_view word : {"-Infinity", "Infinity", "NaN"}) {
      if (in_text || json.substr(i, word.size()) != word) continue;
      absl::StrAppend(&quoted, "\"", word, "\"");
      i += word.size() - 1;
      replaced = true;
      break;
    }
    if (!replaced) quoted += json[i];
  }
  return quoted;
}

}  // namespace

absl::string_view Name(Prediction prediction) { return NameIn(kPredictions, prediction); }
absl::string_view Name(Spacing spacing) { return NameIn(kSpacings, spacing); }
absl::string_view Name(Variance variance) { return NameIn(kVariances, variance); }
absl::string_view Name(Sigmas sigmas) { return NameIn(kSigmas, sigmas); }
absl::string_view Name(SamplerKind kind) { return SpecOf(kind).name; }

NoiseSchedule ScheduleOf(const SchedulerConfig& config) {
  return config.flow.has_value() ? NoiseSchedule::OfFlow(config.flow->num_train_timesteps)
                                 : NoiseSchedule(config.betas);
}

absl::StatusOr<SchedulerConfig> ParseSchedulerConfig(absl::string_view json) {
  const nlohmann::json object = nlohmann::json::parse(QuoteNonFinite(json), nullptr,
                                                      /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        "scheduler_config.json: not a JSON object; write it with diffusers' save_pretrained, or as "
        "{\"_class_name\": \"DDPMScheduler\", …}");
  }
  ConfigReader reader(object, [](const char*) { return "scheduler_config.json: "; });
  const SamplerSpec* spec = ReadClass(&reader);
  if (spec == nullptr) return reader.status();

  SchedulerConfig config;
  const bool flow_class = reader.Text("_class_name") == kFlowClass;
  config.class_name = std::string(flow_class ? kFlowClass : spec->class_name);
  config.default_sampler = spec->kind;
  config.prediction = reader.OneOf<Prediction>("prediction_type", kPredictions)
                          .value_or(flow_class ? Prediction::kFlow : Prediction::kEpsilon);
  config.squared_cosine = reader.Has("beta_schedule") &&
                          reader.Text("beta_schedule") == std::string("squaredcos_cap_v2");
  // DPMSolverMultistepScheduler writes null.
  if (reader.Has("variance_type")) {
    config.variance = reader.OneOf<Variance>("variance_type", kVariances);
  }
  ReadBounds(&reader, &config);
  config.spacing = reader.OneOf<Spacing>("timestep_spacing", kSpacings);
  config.steps_offset = reader.Integer("steps_offset", 0, kMaxTrainTimesteps);
  config.set_alpha_to_one = reader.Flag("set_alpha_to_one");
  ReadSigmas(&reader, &config);
  ReadSolver(&reader, &config, &config.default_sampler);
  ReadFlow(*spec, &reader, &config);
  if (!config.flow.has_value()) {
    config.betas = ReadBetas(*spec, config.prediction, &reader);
  }
  RefuseUnservedValues(&reader);

  if (!reader.status().ok()) return reader.status();
  config.ignored_keys = reader.UnreadKeys();
  return config;
}

}  // namespace denoise
