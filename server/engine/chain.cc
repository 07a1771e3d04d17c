#include "server/engine/chain.h"

#include <vector>

#include "absl/types/span.h"

namespace denoise {
namespace {

// Of [1 or n, values] the sample's own, or the one for all; empty where `all` is.
absl::Span<const float> OfSample(const std::vector<float>& all, size_t values, uint32_t index) {
  if (all.size() <= values) return all;
  return absl::MakeConstSpan(all).subspan(index * values, values);
}

}  // namespace

ChainStart StartOf(const Request& request, uint32_t index) {
  const Table& table = *request.table;
  const size_t values = request.model->shape.values();
  ChainStart start;
  start.registers = table.registers;
  start.seed = request.seed + index;
  start.stochastic = table.stochastic;
  start.x = OfSample(request.start, values, index);
  start.scale = table.initial_scale;
  start.image = OfSample(request.image, values, index);
  start.image_scale = table.image_scale;
  start.keep_noise = table.keeps_noise;
  return start;
}

RowTask NextTask(const Chain& chain) {
  const Request& request = *chain.request;
  const Table& table = *request.table;
  const Row& row = chain.next_row();
  RowTask task;
  task.slot = chain.slot;
  task.row = &row;
  task.label = request.labels.empty() ? 0 : request.labels[chain.index];
  task.sample = chain.index;
  task.conditions = request.conditions.get();
  task.guided = request.DenoiserRows(row) == 2;
  if (task.guided) {
    if (!request.negative_labels.empty()) {
      task.negative_label = request.negative_labels[chain.index];
    }
    task.negative_conditions = request.negative_conditions.get();
    task.guidance = request.guidance;
    task.guidance_rescale = request.guidance_rescale;
  }
  if (row.blend != Blend::kNone) {
    const size_t values = request.model->shape.values();
    task.known = OfSample(request.known, values, chain.index).data();
    task.mask = OfSample(request.mask, values, chain.index).data();
  }
  if (!table.terms.empty()) {
    task.term = &table.terms[chain.row];
    task.term_index = chain.row;
  }
  return task;
}

}  // namespace denoise
