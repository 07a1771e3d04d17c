#include "server/engine/publish.h"

#include <utility>
#include <vector>

namespace denoise {

void PublishState(const Chain& chain, const Row* row, RowBatch::Outcome& outcome) {
  const Request& request = *chain.request;
  const Table& table = *request.table;
  for (const Content content : request.states.content) {
    // There is no prediction before the first row.
    if (content == Content::kPredictedX0 && (!row || !row->denoise)) continue;
    const bool decoded = request.states.decode && content != Content::kProgress;
    std::vector<float>& x = decoded ? outcome.decoded_x : outcome.x;
    std::vector<float>& x0 = decoded ? outcome.decoded_x0 : outcome.x0;
    if (decoded && (content == Content::kXt ? x : x0).empty()) continue;  // it was declined
    StateEvent state;
    state.sample_index = chain.index;
    state.step = row ? row->step : 0;
    state.timestep = row ? row->state_timestep : table.initial_timestep;
    state.alpha_bar = row ? row->state_alpha_bar : table.initial_alpha_bar;
    state.sigma = row ? row->state_sigma : table.initial_sigma;
    state.content = content;
    if (content == Content::kXt) state.values = std::move(x);
    if (content == Content::kPredictedX0) state.values = std::move(x0);
    request.stream->Publish(std::move(state));
  }
}

}  // namespace denoise
