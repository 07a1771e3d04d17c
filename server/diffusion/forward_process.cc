#include "server/diffusion/forward_process.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

absl::Status ValidateTimesteps(const NoiseSchedule& schedule,
                               const std::vector<int64_t>& timesteps) {
  if (timesteps.empty()) {
    return FieldError("timesteps", "none given; name at least one time of the states wanted");
  }
  for (size_t i = 0; i < timesteps.size(); ++i) {
    if (timesteps[i] < 0 || timesteps[i] >= schedule.size()) {
      return FieldError("timesteps", absl::StrCat(timesteps[i], " at position ", i,
                                                  " is not in 0..", schedule.size() - 1));
    }
    if (i > 0 && timesteps[i] <= timesteps[i - 1]) {
      return FieldError(
          "timesteps", absl::StrCat(timesteps[i], " at position ", i, " follows ", timesteps[i - 1],
                                    "; they must be strictly ascending"));
    }
  }
  return absl::OkStatus();
}

// A table that starts at x_0, one step for each of `timesteps`.
Table StartAtX0(const std::vector<int64_t>& timesteps) {
  Table table;
  table.total_steps = static_cast<uint32_t>(timesteps.size());
  table.initial_timestep = -1;
  table.initial_alpha_bar = 1;
  table.initial_sigma = 0;
  table.stochastic = true;
  return table;
}

// A row without weights that leaves x at time t.
Row TransitionTo(const NoiseSchedule& schedule, int64_t t, size_t step) {
  Row row;
  row.denoise = false;
  row.timestep = static_cast<double>(t);
  row.noise = true;
  row.step = static_cast<uint32_t>(step);
  row.state_timestep = static_cast<double>(t);
  row.state_alpha_bar = schedule.alpha_bar(t);
  row.state_sigma = schedule.sigma(t);
  return row;
}

}  // namespace

absl::StatusOr<Table> MakeForwardChain(const NoiseSchedule& schedule,
                                       const std::vector<int64_t>& timesteps) {
  if (schedule.is_flow()) {
    return FieldError("chain",
                      "true has no meaning for a flow model, whose x_t = (1-sigma) x_0 + sigma z "
                      "keeps one z; leave it out to draw each state from q(x_t|x_0)");
  }
  if (absl::Status status = ValidateTimesteps(schedule, timesteps); !status.ok()) return status;
  Table table = StartAtX0(timesteps);
  table.rows.reserve(timesteps.back() + 1);
  size_t done = 0;
  for (int64_t t = 0; t <= timesteps.back(); ++t) {
    const double kept =
        t == 0 ? schedule.alpha_bar(0) : schedule.alpha_bar(t) / schedule.alpha_bar(t - 1);
    Row row = TransitionTo(schedule, t, done + 1);
    row.w[kColX][kColX] = std::sqrt(kept);
    row.w[kColX][kColZ] = std::sqrt(1 - kept);
    row.completes_step = t == timesteps[done];
    if (row.completes_step) ++done;
    table.rows.push_back(row);
  }
  return table;
}

absl::StatusOr<Table> MakeForwardJumps(const NoiseSchedule& schedule,
                                       const std::vector<int64_t>& timesteps) {
  if (absl::Status status = ValidateTimesteps(schedule, timesteps); !status.ok()) return status;
  Table table = StartAtX0(timesteps);
  table.registers = 2;
  table.rows.reserve(timesteps.size());
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const int64_t t = timesteps[i];
    Row row = TransitionTo(schedule, t, i + 1);
    row.w[kColX][kColH1] = schedule.alpha(t);
    row.w[kColX][kColZ] = schedule.sigma(t);
    row.w[kColH1][kColH1] = 1;
    table.rows.push_back(row);
  }
  return table;
}

}  // namespace denoise
