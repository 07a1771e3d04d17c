#include "server/diffusion/scheduler_config.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/config_reader.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/samplers/samplers.h"

namespace denoise {
namespace {

// More than any model uses, and few enough for a table with a row for each.
constexpr int64_t kMaxTrainTimesteps = 100'000;
// Below this x̂0 = (x - σ out)/α has no digit left in float32 states.
constexpr double kMinAlphaBar = 1e-30;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename T>
using Choices = std::pair<const char*, T>;

constexpr Choices<Prediction> kPredictions[] = {{"epsilon", Prediction::kEpsilon},
                                                {"v_prediction", Prediction::kV},
                                                {"sample", Prediction::kSample}};

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

constexpr Choices<BetaSchedule> kBetaSchedules[] = {
    {"linear", BetaSchedule::kLinear},
    {"scaled_linear", BetaSchedule::kScaledLinear},
    {"squaredcos_cap_v2", BetaSchedule::kSquaredCosCapV2},
    {"sigmoid", BetaSchedule::kSigmoid}};

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

// Switches that change what is sampled and are not served: a model that has one on is refused
// rather than sampled otherwise than it was made for.
constexpr const char* kUnservedSwitches[] = {"thresholding", "rescale_betas_zero_snr",
                                             "use_flow_sigmas", "use_dynamic_shifting",
                                             "use_lu_lambdas"};

// Parameters of those, which mean nothing while they are off.
constexpr const char* kIdleParameters[] = {"dynamic_thresholding_ratio", "sample_max_value",
                                           "flow_shift", "shift_terminal"};

template <typename T, size_t n>
absl::string_view NameIn(const Choices<T> (&choices)[n], T value) {
  for (const auto& [name, choice] : choices) {
    if (choice == value) return name;
  }
  return "?";
}

const SamplerSpec* ReadClass(ConfigReader* reader) {
  std::vector<absl::string_view> served;
  const std::optional<std::string> name = reader->Text("_class_name");
  for (const SamplerSpec* spec : Samplers()) {
    if (name == spec->class_name) return spec;
    // Samplers that share a class stand side by side.
    if (served.empty() || served.back() != spec->class_name) served.push_back(spec->class_name);
  }
  // A missing name, too; after an error that Text noted this is without effect.
  reader->Fail(
      "_class_name", name.has_value() ? absl::StrCat("\"", *name, "\"") : "(missing)",
      absl::StrCat("is not a scheduler that is served; served are ", absl::StrJoin(served, ", "),
                   ". The betas do not depend on it: name one of these if the model may "
                   "be sampled so"));
  return nullptr;
}

// Checks that the forward process is one that can be reversed in float32.
void ValidateBetas(const char* key, const std::vector<double>& betas, ConfigReader* reader) {
  for (size_t t = 0; t < betas.size(); ++t) {
    if (!(betas[t] > 0 && betas[t] < 1)) {
      reader->Fail(key, absl::StrCat(betas[t]),
                   absl::StrCat("at t = ", t, " is not between 0 and 1 (as float32)"));
      return;
    }
  }
  const NoiseSchedule schedule(betas);
  double above = 1;
  for (size_t t = 0; t < betas.size(); ++t) {
    const double alpha_bar = schedule.alpha_bars()[t];
    if (!(alpha_bar < above)) {
      reader->Fail(
          key, absl::StrCat(betas[t]),
          absl::StrCat("at t = ", t, " is too small: alpha_bar stays at ", above, " (as float32)"));
      return;
    }
    if (alpha_bar < kMinAlphaBar) {
      reader->Fail(key, absl::StrCat(betas[t]),
                   absl::StrCat("at t = ", t, " brings alpha_bar to ", alpha_bar,
                                ", which must stay above ", kMinAlphaBar));
      return;
    }
    above = alpha_bar;
  }
}

std::vector<double> ReadBetas(const SamplerSpec& spec, ConfigReader* reader) {
  const std::optional<int64_t> given_count =
      reader->Integer("num_train_timesteps", 1, kMaxTrainTimesteps);
  const int64_t count = given_count.value_or(spec.num_train_timesteps);
  const double start = reader->Number("beta_start", 0, 1).value_or(spec.beta_start);
  const double end = reader->Number("beta_end", 0, 1).value_or(spec.beta_end);
  const BetaSchedule schedule =
      reader->OneOf<BetaSchedule>("beta_schedule", kBetaSchedules).value_or(spec.beta_schedule);
  std::optional<std::vector<double>> trained = reader->Numbers("trained_betas");
  if (!reader->status().ok()) return {};

  if (!trained.has_value()) {
    std::vector<double> betas = MakeBetas(schedule, count, start, end);
    ValidateBetas("beta_schedule", betas, reader);
    return betas;
  }
  if (static_cast<int64_t>(trained->size()) != count) {
    reader->Fail("trained_betas", absl::StrCat("a list of ", trained->size()),
                 absl::StrCat("does not fit num_train_timesteps, ", count,
                              given_count.has_value() ? "" : " by default"));
    return {};
  }
  for (double& beta : *trained) beta = static_cast<float>(beta);
  ValidateBetas("trained_betas", *trained, reader);
  return *std::move(trained);
}

void RefuseUnservedSwitches(ConfigReader* reader) {
  for (const char* key : kUnservedSwitches) {
    if (reader->IsOn(key)) {
      reader->Fail(key, "true", "is not served; set it to false if the model may be sampled so");
    }
  }
}

// Other settings of the classes, of which one value is served.
void RefuseUnservedValues(ConfigReader* reader) {
  reader->Only("interpolation_type", "linear");
  reader->Only("timestep_type", "discrete");
  reader->Only("time_shift_type", "exponential");
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

absl::StatusOr<SchedulerConfig> ParseSchedulerConfig(absl::string_view json) {
  const nlohmann::json object = nlohmann::json::parse(QuoteNonFinite(json), nullptr,
                                                      /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        "scheduler_config.json: not a JSON object; write it with diffusers' save_pretrained, or as "
        "{\"_class_name\": \"DDPMScheduler\", …}");
  }
  ConfigReader reader(object);
  const SamplerSpec* spec = ReadClass(&reader);
  if (spec == nullptr) return reader.status();

  SchedulerConfig config;
  config.class_name = std::string(spec->class_name);
  config.default_sampler = spec->kind;
  config.betas = ReadBetas(*spec, &reader);
  config.prediction =
      reader.OneOf<Prediction>("prediction_type", kPredictions).value_or(Prediction::kEpsilon);
  config.squared_cosine = reader.Has("beta_schedule") &&
                          reader.Text("beta_schedule") == std::string("squaredcos_cap_v2");
  // DPMSolverMultistepScheduler writes null.
  if (reader.Has("variance_type")) {
    config.variance = reader.OneOf<Variance>("variance_type", kVariances);
  }
  config.clip_sample = reader.Flag("clip_sample");
  config.clip_sample_range = reader.Number("clip_sample_range", 0, kInfinity);
  config.spacing = reader.OneOf<Spacing>("timestep_spacing", kSpacings);
  config.steps_offset = reader.Integer("steps_offset", 0, kMaxTrainTimesteps);
  config.set_alpha_to_one = reader.Flag("set_alpha_to_one");
  ReadSigmas(&reader, &config);
  ReadSolver(&reader, &config, &config.default_sampler);
  RefuseUnservedSwitches(&reader);
  RefuseUnservedValues(&reader);
  for (const char* key : kIdleParameters) {
    if (reader.Has(key)) reader.Number(key, 0, kInfinity);
  }

  if (!reader.status().ok()) return reader.status();
  config.ignored_keys = reader.UnreadKeys();
  return config;
}

}  // namespace denoise
