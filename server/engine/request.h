// A request as the engines see it: validated, with its table made.
#ifndef DENOISE_SERVER_ENGINE_REQUEST_H_
#define DENOISE_SERVER_ENGINE_REQUEST_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/diffusion/table.h"
#include "server/engine/backlog.h"
#include "server/engine/clock.h"
#include "server/engine/conditions.h"
#include "server/engine/evaluation.h"
#include "server/engine/event_stream.h"
#include "server/engine/memory_budget.h"
#include "server/engine/model_info.h"
#include "server/engine/tenant_limits.h"

namespace denoise {

// Which steps of a chain its caller asked to see.
struct StateSelection {
  uint32_t every_n_steps = 0;    // 0: none
  std::vector<uint32_t> steps;   // sorted; besides those
  std::vector<Content> content;  // of each step; {kProgress} for progress alone
  bool decode = false;           // through the model's decoder

  bool any() const { return every_n_steps > 0 || !steps.empty(); }
  // Whether step `step` of `total` is wanted. The last one is, wherever any is.
  bool Wants(uint32_t step, uint32_t total) const;
};

// Immutable once queued; shared by the queue, the engines and the reactor.
struct Request {
  std::string id;  // for logs
  std::shared_ptr<const ModelInfo> model;
  std::shared_ptr<const Table> table;
  uint32_t num_samples = 1;
  uint64_t seed = 0;            // sample i: seed + i
  std::vector<int64_t> labels;  // [num_samples]; empty for models without classes
  bool guided = false;
  std::vector<int64_t> negative_labels;  // [num_samples] where guided and the model has classes
  float guidance = 1;
  float guidance_rescale = 0;
  // Guided where sigma_min < σ/α ≤ sigma_max.
  double guidance_sigma_min = -1;
  double guidance_sigma_max = std::numeric_limits<double>::infinity();
  // Null for models without further inputs, and the negative ones where not guided.
  std::shared_ptr<const Conditions> conditions;
  std::shared_ptr<const Conditions> negative_conditions;
  std::vector<float> start;  // [n·C·H·W] or empty: drawn
  std::vector<float> image;  // [1 or n, C·H·W] or empty: what image to image starts from
  std::vector<float> known;  // [1 or n, C·H·W] or empty: what inpainting keeps
  std::vector<float> mask;   // [1 or n, C·H·W], with `known`
  // Of an inference on the denoiser itself: the one row of the table that is all of sample i's
  // chain, [num_samples]; its result is the denoiser's answer as it came. Empty: chains walk the
  // table.
  std::vector<uint32_t> only_row;
  // Of an Evaluate, whose x_0 is `start`.
  std::shared_ptr<Evaluation> evaluation;
  StateSelection states;
  bool decode = false;  // the result, through the model's decoder
  int priority = 0;     // -kMaxPriority..kMaxPriority, higher goes first
  std::string tenant;   // empty: no one in particular; those share one
  TenantLimits limits;
  SteadyTime arrival;
  std::optional<SteadyTime> deadline;
  bool deadline_is_limit = false;  // the longest that its caller may take, and not the caller's own
  std::shared_ptr<EventStream> stream;
  std::shared_ptr<Work> work = std::make_shared<Work>();
  // Of the server's memory, for as long as anybody holds the request: data_bytes() and what its
  // Result takes.
  std::shared_ptr<const MemoryBudget::Reservation> data_memory;
  std::shared_ptr<const MemoryBudget::Reservation> result_memory;

  // Where sample i's chain begins in the table, and the row after its last.
  size_t first_row(uint32_t sample) const { return only_row.empty() ? 0 : only_row[sample]; }
  size_t end_row(uint32_t sample) const {
    return only_row.empty() ? table->rows.size() : only_row[sample] + size_t{1};
  }
  // Of the result's samples, and of states.
  SampleFormat result_format() const { return model->format(decode); }
  SampleFormat state_format() const { return model->format(states.decode); }
  // Of a sample's result: as its format says, or for an inference those of the denoiser's answer.
  size_t values_per_result() const;
  // Denoiser rows that this row of its table is: 0, 1, or 2 where guidance acts.
  int DenoiserRows(const Row& row) const;
  // Denoiser rows that one of its chains needs in all.
  uint64_t rows_per_chain() const;
  // Memory for what it brought: start, images, masks, conditions; and for its table, which others
  // may have too.
  size_t data_bytes() const;
  // Memory for the samples of its Result.
  size_t result_bytes() const;
  // Memory that one of its chains needs besides those while it runs, about: its state, or its
  // terms; and where states are decoded, one of each content.
  size_t bytes_per_chain() const;
  // Denoiser calls that one of its chains takes part in, one for each row that denoises.
  uint64_t denoiser_calls_per_chain() const;
  // DEADLINE_EXCEEDED, that it passed "while …".
  absl::Status DeadlinePassed(const char* when) const;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_REQUEST_H_
