#include "server/diffusion/custom_times.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

absl::Status Contradiction(absl::string_view other) {
  return FieldError("sampler.timesteps",
                    absl::StrCat("is given together with ", other,
                                 ", which it stands in place of; leave one of the two out"));
}

}  // namespace

absl::Status ValidateTimesteps(const SamplerOptions& options, TimeGrid grid, int64_t train_steps) {
  if (options.steps != 0) return Contradiction(absl::StrCat("sampler.steps ", options.steps));
  if (options.spacing.has_value()) {
    return Contradiction(absl::StrCat("sampler.timestep_spacing ", Name(*options.spacing)));
  }
  if (options.sigmas.has_value()) {
    return Contradiction(absl::StrCat("sampler.sigmas ", Name(*options.sigmas)));
  }
  const std::vector<float>& times = options.timesteps;
  if (static_cast<int64_t>(times.size()) > train_steps) {
    return FieldError("sampler.timesteps",
                      absl::StrCat(times.size(), " times are more than the ", train_steps,
                                   " that the model was trained with; give at most as many"));
  }
  for (size_t i = 0; i < times.size(); ++i) {
    const auto refused = [&](absl::string_view why) {
      return FieldError(absl::StrCat("sampler.timesteps[", i, "]"),
                        absl::StrCat(times[i], " ", why));
    };
    // Written so that NaN fails.
    if (!(times[i] >= 0 && times[i] <= static_cast<float>(train_steps - 1))) {
      return refused(absl::StrCat("is not in 0..", train_steps - 1, ", the model's times"));
    }
    if (grid == TimeGrid::kWhole && times[i] != std::floor(times[i])) {
      return refused(
          "is not a whole number, which this sampler's times are; round it, or choose a sampler "
          "that takes fractions, such as euler");
    }
    if (i > 0 && !(times[i] < times[i - 1])) {
      return refused(absl::StrCat("is not below the time before it, ", times[i - 1],
                                  "; give the times in strictly descending order"));
    }
  }
  return absl::OkStatus();
}

}  // namespace denoise
