#include "server/diffusion/inpainting.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/diffusion/field_error.h"

namespace denoise {
namespace {

// A level that the chain stands at between two steps.
struct State {
  double timestep;
  double alpha_bar;
  double sigma;
};

void BlendAtState(Blend blend, Row* row) {
  row->blend = blend;
  row->blend_alpha = std::sqrt(row->state_alpha_bar);
  row->blend_sigma = row->state_sigma;
}

void BlendWithKnown(Row* row) {
  row->blend = Blend::kKnown;
  row->blend_alpha = 1;
  row->blend_sigma = 0;
}

Row RowBack(const State& from, const State& to) {
  const double kept = to.alpha_bar / from.alpha_bar;
  Row row;
  row.denoise = false;
  row.noise = true;
  row.w[kColX][kColX] = std::sqrt(kept);
  row.w[kColX][kColZ] = std::sqrt(1 - kept);
  row.completes_step = false;
  row.timestep = to.timestep;
  row.state_timestep = to.timestep;
  row.state_alpha_bar = to.alpha_bar;
  row.state_sigma = to.sigma;
  return row;
}

absl::Status ValidateJumps(uint64_t steps, uint64_t jump_length, uint64_t jump_samples) {
  if (steps < 2) {
    return FieldError("inpainting.jump_samples",
                      absl::StrCat(jump_samples,
                                   " does nothing in a chain of one step, which has no step to go "
                                   "back over; ask for more steps, or leave it out"));
  }
  if (jump_length < 1 || jump_length >= steps) {
    return FieldError(
        "inpainting.jump_length",
        absl::StrCat(jump_length, " is not in 1..", steps - 1,
                     ": a jump goes back over fewer than the ", steps, " steps that are run"));
  }
  // How often the chain stands where it goes back: ⌈(N-j)/j⌉.
  const uint64_t places = (steps - 1) / jump_length;
  const uint64_t room = kMaxResampledRows - std::min(steps, kMaxResampledRows);
  const uint64_t most = room / (places * (jump_length + 1));
  if (jump_samples - 1 > most) {
    return FieldError("inpainting.jump_samples",
                      absl::StrCat(jump_samples, " makes a chain of ", steps,
                                   " steps with jump_length ", jump_length, " longer than ",
                                   kMaxResampledRows, " rows; give at most ", most + 1));
  }
  return absl::OkStatus();
}

}  // namespace

void BlendRows(Table* table) {
  for (Row& row : table->rows) BlendAtState(Blend::kKeptNoise, &row);
  BlendWithKnown(&table->rows.back());
  table->keeps_noise = table->rows.size() > 1;
}

absl::Status BlendAndResample(uint32_t jump_length, uint32_t jump_samples, bool repeatable,
                              absl::string_view sampler, Table* table) {
  if (!repeatable) {
    return FieldError(
        "inpainting.jump_samples",
        absl::StrCat(jump_samples, " needs a sampler whose steps can be made again; ", sampler,
                     " remembers the steps before. Choose ddpm, ddim, euler or euler_ancestral, or "
                     "leave it out"));
  }
  const size_t steps = table->rows.size();
  if (absl::Status status = ValidateJumps(steps, jump_length, jump_samples); !status.ok()) {
    return status;
  }
  std::vector<Row>& once = table->rows;
  for (Row& row : once) BlendAtState(Blend::kFreshNoise, &row);
  BlendWithKnown(&once.back());

  // By the number of steps left.
  const auto state_with = [&](size_t left) -> State {
    if (left == steps) {
      return {table->initial_timestep, table->initial_alpha_bar, table->initial_sigma};
    }
    const Row& row = once[steps - 1 - left];
    return {row.state_timestep, row.state_alpha_bar, row.state_sigma};
  };
  std::vector<uint32_t> times_back(steps, 0);
  for (size_t left = 1; left + jump_length <= steps; left += jump_length) {
    times_back[left] = jump_samples - 1;
  }

  std::vector<Row> rows;
  uint32_t step = 0;
  for (size_t left = steps; left > 0;) {
    rows.push_back(once[steps - left]);
    rows.back().step = ++step;
    --left;
    if (times_back[left] == 0) continue;
    --times_back[left];
    rows.push_back(RowBack(state_with(left), state_with(left + jump_length)));
    rows.back().step = step + 1;
    left += jump_length;
  }
  table->rows = std::move(rows);
  table->total_steps = step;
  return absl::OkStatus();
}

}  // namespace denoise
