#include "server/diffusion/time_grid.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

// std::nearbyint rounds halves to even in the default rounding mode, which nothing here changes.
int64_t RoundHalfToEven(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

absl::Status PastTheEnd(int64_t steps, int64_t steps_offset, double first, int64_t train_steps) {
  return FieldError(
      "sampler.steps",
      absl::StrCat(steps, " steps of leading spacing with the model's steps_offset ", steps_offset,
                   " start at t = ", first, ", past the last trained time ", train_steps - 1,
                   "; ask for fewer steps or for another timestep_spacing"));
}

}  // namespace

absl::Status ValidateSteps(int64_t train_steps, int64_t steps) {
  if (steps >= 1 && steps <= train_steps) return absl::OkStatus();
  return FieldError("sampler.steps",
                    absl::StrCat(steps, " is not in 1..", train_steps,
                                 ", the number of steps that the model was trained with"));
}

absl::StatusOr<std::vector<int64_t>> WholeTimes(Spacing spacing, int64_t train_steps, int64_t steps,
                                                int64_t steps_offset) {
  if (absl::Status status = ValidateSteps(train_steps, steps); !status.ok()) return status;
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
    return PastTheEnd(steps, steps_offset, static_cast<double>(times.front()), train_steps);
  }
  return times;
}

absl::StatusOr<std::vector<double>> GridTimes(TimeGrid grid, Spacing spacing, int64_t train_steps,
                                              int64_t steps, int64_t steps_offset) {
  const bool as_whole = grid == TimeGrid::kWhole || spacing == Spacing::kTrailing ||
                        (grid == TimeGrid::kFractional && spacing == Spacing::kLeading);
  if (as_whole) {
    const absl::StatusOr<std::vector<int64_t>> whole =
        WholeTimes(spacing, train_steps, steps, steps_offset);
    if (!whole.ok()) return whole.status();
    return std::vector<double>(whole->begin(), whole->end());
  }
  if (absl::Status status = ValidateSteps(train_steps, steps); !status.ok()) return status;

  const auto last = static_cast<double>(train_steps - 1);
  std::vector<double> times(steps);
  for (int64_t i = 0; i < steps; ++i) {
    if (grid == TimeGrid::kFractional) {
      const double stride = steps > 1 ? last / static_cast<double>(steps - 1) : 0;
      times[i] = static_cast<float>(static_cast<double>(steps - 1 - i) * stride);
    } else if (spacing == Spacing::kLeading) {
      const int64_t time = (steps - i) * (train_steps / (steps + 1)) + steps_offset;
      times[i] = static_cast<double>(time);
    } else {
      times[i] =
          std::nearbyint(static_cast<double>(steps - i) * (last / static_cast<double>(steps)));
    }
  }
  if (times.front() > last) return PastTheEnd(steps, steps_offset, times.front(), train_steps);
  for (int64_t i = 1; i < steps; ++i) {
    if (times[i] >= times[i - 1]) {
      return FieldError(
          "sampler.steps",
          absl::StrCat(steps,
                       " steps of this sampler and timestep_spacing would call the denoiser "
                       "twice at t = ",
                       times[i], "; ask for fewer steps or for trailing timestep_spacing"));
    }
  }
  return times;
}

}  // namespace denoise
