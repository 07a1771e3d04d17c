#include "client/cli/load/load_stats.h"

#include <algorithm>

namespace denoise::cli {

void Latencies::Record(const LoadSample& sample) {
  total.Record(sample.ended - sample.scheduled);
  queue.Record(sample.queue);
  if (sample.first_state) first_state.Record(*sample.first_state - sample.scheduled);
}

void LoadStats::Add(const LoadSample& sample) {
  const auto within = [this](absl::Duration time) { return time >= from_ && time < to_; };
  if (sample.status.ok() && within(sample.ended)) {
    ++requests;
    rows += sample.rows;
    states_dropped += sample.states_dropped;
  }
  if (!within(sample.scheduled)) return;
  send_delay.Record(sample.sent - sample.scheduled);
  if (sample.status.ok()) {
    all.Record(sample);
    by_steps[sample.steps].Record(sample);
  } else {
    Errors& those = errors[sample.status.code()];
    if (those.count++ == 0) those.first = sample.status;
  }
}

void LoadStats::EndAt(absl::Duration now) { to_ = std::max(from_, std::min(to_, now)); }

}  // namespace denoise::cli
