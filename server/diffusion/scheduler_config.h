// A model's scheduler_config.json, as diffusers writes it, and the schedule that follows from it.
#ifndef DENOISE_SERVER_DIFFUSION_SCHEDULER_CONFIG_H_
#define DENOISE_SERVER_DIFFUSION_SCHEDULER_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace denoise {

// kFlow: the velocity ε - x_0 of a flow model, whose x_t is (1-σ) x_0 + σ ε.
enum class Prediction { kEpsilon, kV, kSample, kFlow };
enum class Spacing { kLeading, kTrailing, kLinspace };
enum class Variance { kFixedSmall, kFixedLarge, kLearned, kLearnedRange };
enum class SamplerKind {
  kDdpm,
  kDdim,
  kEuler,
  kEulerAncestral,
  kHeun,
  kDpmpp2M,
  kSdeDpmpp2M,
  kDpmpp3M,
  kUniPc,
  kLms,
  kPndm,
  kDeis,
};
// Where the noise levels of a sampler's rows come from: the model's schedule at the times of the
// spacing, or a curve between the largest and the smallest of them.
enum class Sigmas { kSchedule, kKarras, kExponential, kBeta };
// The level at which the last row of a sampler arrives.
enum class FinalSigma { kZero, kSigmaMin };
// Variants of the multistep solvers. Each solver knows some of them and takes the others for its
// own default, as in diffusers.
enum class SolverType { kMidpoint, kHeun, kBh1, kBh2, kLogRho };

// Names as they stand in scheduler_config.json ("epsilon", "leading", "fixed_small", …).
absl::string_view Name(Prediction prediction);
absl::string_view Name(Spacing spacing);
absl::string_view Name(Variance variance);
absl::string_view Name(SamplerKind kind);  // "ddpm", "dpmpp_2m", …
absl::string_view Name(Sigmas sigmas);     // "schedule", "karras", "exponential", "beta"

// The keys that are known. A *sampling* key that the file does not have stays empty, because its
// default depends on the sampler that a request chooses; the schedule's keys are resolved into
// `betas`.
struct SchedulerConfig {
  std::string class_name;  // "DDPMScheduler"
  SamplerKind default_sampler = SamplerKind::kDdpm;
  std::vector<double> betas;  // [T], each in (0, 1)
  Prediction prediction = Prediction::kEpsilon;

  std::optional<Variance> variance;
  std::optional<bool> clip_sample;
  std::optional<double> clip_sample_range;
  std::optional<Spacing> spacing;
  std::optional<int64_t> steps_offset;
  std::optional<bool> set_alpha_to_one;
  std::optional<Sigmas> sigmas;     // use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas
  std::optional<double> sigma_min;  // bounds of those curves, as sigma/alpha
  std::optional<double> sigma_max;
  std::optional<FinalSigma> final_sigma;
  std::optional<int64_t> solver_order;  // 1..3
  std::optional<SolverType> solver_type;
  std::optional<bool> lower_order_final;
  std::optional<bool> euler_at_final;
  std::optional<bool> skip_prk_steps;  // PNDM's
  // Whether `beta_schedule` says squaredcos_cap_v2, which DPM-Solver++ treats in a way of its own.
  bool squared_cosine = false;

  // Keys that were not understood, for the log.
  std::vector<std::string> ignored_keys;

  int64_t num_train_timesteps() const { return static_cast<int64_t>(betas.size()); }
};

// Parses the file's text, in which infinities may stand as Python's json module writes them.
// INVALID_ARGUMENT, naming key and value, where a known key has an unknown value, a number is out
// of its range, or `_class_name` is not served.
absl::StatusOr<SchedulerConfig> ParseSchedulerConfig(absl::string_view json);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_SCHEDULER_CONFIG_H_
