// A request as the engines see it: validated, with its table made.
#ifndef DENOISE_SERVER_ENGINE_REQUEST_H_
#define DENOISE_SERVER_ENGINE_REQUEST_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/diffusion/table.h"
#include "server/engine/clock.h"
#include "server/engine/event_stream.h"
#include "server/engine/model_info.h"

namespace denoise {

// Which steps of a chain its caller asked to see.
struct StateSelection {
  uint32_t every_n_steps = 0;    // 0: none
  std::vector<uint32_t> steps;   // sorted; besides those
  std::vector<Content> content;  // of each step; {kProgress} for progress alone

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
  int64_t null_label = 0;
  float guidance = 1;
  std::vector<float> start;  // [n·C·H·W] or empty: drawn
  StateSelection states;
  SteadyTime arrival;
  std::optional<SteadyTime> deadline;
  std::shared_ptr<EventStream> stream;

  // Denoiser rows that one of its chains needs in all.
  uint64_t rows_per_chain() const;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_ENGINE_REQUEST_H_
