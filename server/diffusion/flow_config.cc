#include "server/diffusion/flow_config.h"

#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace denoise {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr std::pair<const char*, TimeShift> kTimeShifts[] = {
    {"exponential", TimeShift::kExponential}, {"linear", TimeShift::kLinear}};

// A diffusion's keys that the multistep solvers' classes write in every file.
constexpr const char* kBetaKeys[] = {"beta_start", "beta_end", "beta_schedule", "trained_betas"};

bool IsSolver(const SamplerSpec& spec) {
  return spec.flow_grid != FlowGrid::kNone && spec.flow_grid != FlowGrid::kEuler;
}

std::string Solvers() {
  std::vector<absl::string_view> classes;
  for (const SamplerSpec* spec : Samplers()) {
    const bool listed = !classes.empty() && classes.back() == spec->class_name;
    if (IsSolver(*spec) && !listed) classes.push_back(spec->class_name);
  }
  return absl::StrJoin(classes, ", ");
}

// Whether the file says so, and says it of a class that can.
bool UsesFlowSigmas(const SamplerSpec& spec, const SchedulerConfig& config, ConfigReader* reader) {
  const bool flow_sigmas = reader->IsOn("use_flow_sigmas");
  if (config.class_name == kFlowClass) {
    if (config.prediction != Prediction::kFlow) {
      reader->Fail("prediction_type", absl::StrCat("\"", Name(config.prediction), "\""),
                   absl::StrCat("contradicts ", kFlowClass, "; leave it out"));
    }
    return true;
  }
  if (flow_sigmas && !IsSolver(spec)) {
    reader->Fail("use_flow_sigmas", "true",
                 absl::StrCat("is not served with ", spec.class_name, ", but with ", kFlowClass,
                              ", which does not need it, and ", Solvers()));
  }
  if (flow_sigmas && config.prediction != Prediction::kFlow) {
    reader->Fail("use_flow_sigmas", "true",
                 absl::StrCat("is not served with prediction_type ", Name(config.prediction),
                              "; it goes with flow_prediction"));
  }
  if (!flow_sigmas && config.prediction == Prediction::kFlow) {
    reader->Fail("prediction_type", "\"flow_prediction\"",
                 absl::StrCat("needs use_flow_sigmas true, and one of ", Solvers(),
                              "; or the class ", kFlowClass, ", which needs neither"));
  }
  return flow_sigmas;
}

std::optional<double> Positive(const char* key, double max, ConfigReader* reader) {
  return reader->Has(key) ? reader->Number(key, 0, max) : std::nullopt;
}

// What pipelines compute a μ from: the request brings it here.
void ReadPipelineKeys(ConfigReader* reader) {
  Positive("base_shift", kInfinity, reader);
  Positive("max_shift", kInfinity, reader);
  Positive("base_image_seq_len", kInfinity, reader);
  Positive("max_image_seq_len", kInfinity, reader);
}

}  // namespace

void ReadFlow(const SamplerSpec& spec, ConfigReader* reader, SchedulerConfig* config) {
  const bool is_flow = UsesFlowSigmas(spec, *config, reader);
  const bool flow_class = config->class_name == kFlowClass;
  FlowConfig flow;
  const std::optional<double> shift = Positive("shift", kInfinity, reader);
  const std::optional<double> flow_shift = Positive("flow_shift", kInfinity, reader);
  flow.shift = (flow_class ? shift : flow_shift).value_or(1);
  flow.dynamic_shifting = reader->IsOn("use_dynamic_shifting");
  flow.time_shift =
      reader->OneOf<TimeShift>("time_shift_type", kTimeShifts).value_or(TimeShift::kExponential);
  flow.shift_terminal = Positive("shift_terminal", 1, reader);
  reader->Only("invert_sigmas", false);
  const bool stochastic = reader->IsOn("stochastic_sampling");
  ReadPipelineKeys(reader);

  if (stochastic && !flow_class) {
    reader->Fail("stochastic_sampling", "true", absl::StrCat("is a key of ", kFlowClass));
  }
  if (!is_flow) {
    if (flow.dynamic_shifting) {
      reader->Fail("use_dynamic_shifting", "true", "is for flow models; it needs use_flow_sigmas");
    }
    if (flow.shift_terminal.has_value()) {
      reader->Fail("shift_terminal", absl::StrCat(*flow.shift_terminal),
                   "is for flow models; it needs use_flow_sigmas");
    }
    return;
  }

  reader->Only("rescale_betas_zero_snr", false);
  for (const char* key : kBetaKeys) reader->Has(key);
  if (config->sigmas.has_value() && !flow_class) {
    reader->Fail("use_flow_sigmas", "true",
                 absl::StrCat("is not served with sigmas of a curve, ", Name(*config->sigmas)));
  }
  if (spec.flow_grid == FlowGrid::kDpmSolver && config->final_sigma == FinalSigma::kSigmaMin) {
    reader->Fail("final_sigmas_type", "\"sigma_min\"",
                 "is not served with use_flow_sigmas; set it to zero");
  }
  flow.num_train_timesteps = reader->Integer("num_train_timesteps", 1, kMaxTrainTimesteps)
                                 .value_or(flow.num_train_timesteps);
  if (flow_class && stochastic) config->default_sampler = SamplerKind::kEulerAncestral;
  config->flow = flow;
}

}  // namespace denoise
