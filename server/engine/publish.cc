#include "server/engine/publish.h"

#include <utility>
#include <vector>

namespace denoise {
namespace {

std::vector<float> TakeValues(Content content, bool decoded, RowBatch::Outcome& outcome) {
  switch (content) {
    case Content::kProgress:
      break;
    case Content::kXt:
      return std::exchange(decoded ? outcome.decoded_x : outcome.x, {});
    case Content::kPredictedX0:
      return std::exchange(decoded ? outcome.decoded_x0 : outcome.x0, {});
  }
  return {};
}

}  // namespace

void PublishState(const Chain& chain, const Row* row, RowBatch::Outcome& outcome) {
  const Request& request = *chain.request;
  const Table& table = *request.table;
  for (const Content content : request.states.content) {
    // There is no prediction before the first row.
    if (content == Content::kPredictedX0 && (!row || !row->denoise)) continue;
    StateEvent state;
    state.sample_index = chain.index;
    state.step = row ? row->step : 0;
    state.timestep = row ? row->state_timestep : table.initial_timestep;
    state.alpha_bar = row ? row->state_alpha_bar : table.initial_alpha_bar;
    state.sigma = row ? row->state_sigma : table.initial_sigma;
    state.content = content;
    state.values = TakeValues(content, request.states.decode, outcome);
    if (content != Content::kProgress && state.values.empty()) continue;  // it was declined
    request.stream->Publish(std::move(state));
  }
}

}  // namespace denoise
