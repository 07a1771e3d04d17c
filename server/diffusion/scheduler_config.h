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

enum class Prediction { kEpsilon, kV, kSample };
enum class Spacing { kLeading, kTrailing, kLinspace };
enum class Variance { kFixedSmall, kFixedLarge, kLearned, kLearnedRange };
enum class SamplerKind { kDdpm, kDdim };

// Names as they stand in scheduler_config.json ("epsilon", "leading", "fixed_small", …).
absl::string_view Name(Prediction prediction);
absl::string_view Name(Spacing spacing);
absl::string_view Name(Variance variance);
absl::string_view Name(SamplerKind kind);  // "ddpm", "ddim"

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

  // Keys that were not understood, for the log.
  std::vector<std::string> ignored_keys;

  int64_t num_train_timesteps() const { return static_cast<int64_t>(betas.size()); }
};

// Parses the file's text. INVALID_ARGUMENT, naming key and value, where a known key has an unknown
// value, a number is out of its range, or `_class_name` is not served.
absl::StatusOr<SchedulerConfig> ParseSchedulerConfig(absl::string_view json);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_SCHEDULER_CONFIG_H_
