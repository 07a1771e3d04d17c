#include "server/engine/request.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace denoise {

bool StateSelection::Wants(uint32_t step, uint32_t total) const {
  if (std::binary_search(steps.begin(), steps.end(), step)) return true;
  if (step == 0) return false;
  if (step == total) return any();
  return every_n_steps > 0 && step % every_n_steps == 0;
}

int Request::DenoiserRows(const Row& row) const {
  if (!row.denoise) return 0;
  const bool acts =
      guided && row.noise_ratio > guidance_sigma_min && row.noise_ratio <= guidance_sigma_max;
  return acts ? 2 : 1;
}

size_t Request::values_per_result() const {
  return only_row.empty() ? result_format().shape.values() : model->answer_shape().values();
}

uint64_t Request::denoiser_calls_per_chain() const {
  if (!only_row.empty()) return 1;
  return std::count_if(table->rows.begin(), table->rows.end(),
                       [](const Row& row) { return row.denoise; });
}

size_t Request::data_bytes() const {
  size_t bytes = (start.size() + image.size() + known.size() + mask.size()) * sizeof(float) +
                 table->rows.size() * sizeof(Row);
  for (const Conditions* all : {conditions.get(), negative_conditions.get()}) {
    if (all == nullptr) continue;
    for (const Condition& condition : *all) bytes += condition.data.size();
  }
  return bytes;
}

size_t Request::result_bytes() const {
  return evaluation == nullptr ? num_samples * values_per_result() * sizeof(float) : 0;
}

size_t Request::bytes_per_chain() const {
  constexpr size_t kBookkeeping = 1024;
  constexpr size_t kGenerator = 5 * 1024;
  const size_t registers = table->registers + (table->keeps_noise ? 1 : 0);
  size_t values = registers * model->shape.values();
  // Of each content the newest state stays until it is read; latents hardly count beside the rest.
  if (states.decode) values += states.content.size() * state_format().shape.values();
  return values * sizeof(float) + kBookkeeping + (table->stochastic ? kGenerator : 0) +
         table->terms.size() * sizeof(TermValues);
}

uint64_t Request::rows_per_chain() const {
  if (!only_row.empty()) return 1;
  uint64_t rows = 0;
  for (const Row& row : table->rows) rows += DenoiserRows(row);
  return rows;
}

absl::Status Request::DeadlinePassed(const char* when) const {
  if (!deadline_is_limit) {
    return absl::DeadlineExceededError(absl::StrCat("the deadline passed ", when));
  }
  return absl::DeadlineExceededError(absl::StrCat(
      "the ", absl::FormatDuration(absl::FromChrono(*deadline - arrival)),
      " that a call of this caller may take passed ", when, ": ask for fewer steps or samples"));
}

}  // namespace denoise
