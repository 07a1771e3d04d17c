#include "server/diffusion/time_grid.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

// std::nearbyint rounds halves to even in the default rounding mode, which nothing here changes.
int64_t RoundHalfToEven(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

}  // namespace

absl::StatusOr<std::vector<int64_t>> WholeTimes(Spacing spacing, int64_t train_steps, int64_t steps,
                                                int64_t steps_offset) {
  if (steps < 1 || steps > train_steps) {
    return FieldError("sampler.steps",
                      absl::StrCat(steps, " is not in 1..", train_steps,
                                   ", the number of steps that the model was trained with"));
  }
  const auto total = static_cast<double>(train_steps);
  const auto count = static_cast<double>(steps);
  std::vector<int64_t> times(steps);
  switch (spacing) {
    case Spacing::kLeading:
      for (int64_t i = 0; i < steps; ++i) {
        times[i] = (steps - 1 - i) * (train_steps / steps) + steps_offset;
      }
      break;
    case Spacing::kTrailing:
      for (int64_t i = 0; i < steps; ++i) {
        times[i] = RoundHalfToEven(total - static_cast<double>(i) * total / count) - 1;
      }
      break;
    case Spacing::kLinspace: {
      const double stride = steps > 1 ? (total - 1) / (count - 1) : 0;
      for (int64_t i = 0; i < steps; ++i) {
        times[i] = RoundHalfToEven(static_cast<double>(steps - 1 - i) * stride);
      }
      break;
    }
  }
  if (times.front() >= train_steps) {
    return FieldError(
        "sampler.steps",
        absl::StrCat(steps, " steps of leading spacing with the model's steps_offset ",
                     steps_offset, " start at t = ", times.front(), ", past the last trained time ",
                     train_steps - 1, "; ask for fewer steps or for another timestep_spacing"));
  }
  return times;
}

}  // namespace denoise
