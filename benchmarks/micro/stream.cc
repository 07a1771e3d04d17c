// A state on its way to the reader.
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "server/engine/clock.h"
#include "server/engine/event_stream.h"

namespace denoise {
namespace {

StateEvent StateOf(const std::vector<float>& values, uint32_t step) {
  StateEvent state;
  state.step = step;
  state.content = Content::kXt;
  state.values = values;  // copied, as each state has values of its own
  return state;
}

EventStream::Options OptionsFor(const std::vector<float>& values) {
  EventStream::Options options;
  options.values_per_sample = values.size();
  options.max_pending_bytes = 8 * (sizeof(StateEvent) + values.size() * sizeof(float));
  return options;
}

// Each is taken before the next comes.
void PublishAndTake(benchmark::State& state) {
  const std::vector<float> values(state.range(0));
  const SystemClock clock;
  EventStream stream(OptionsFor(values), &clock);
  uint32_t step = 0;
  for (auto _ : state) {
    stream.Publish(StateOf(values, ++step));
    benchmark::DoNotOptimize(stream.Take());
  }
}
BENCHMARK(PublishAndTake)->Name("publish/read")->ArgName("values")->Arg(784)->Arg(196'608);

// Nobody takes any: for each that comes the oldest goes.
void PublishToNobody(benchmark::State& state) {
  const std::vector<float> values(state.range(0));
  const SystemClock clock;
  EventStream stream(OptionsFor(values), &clock);
  uint32_t step = 0;
  for (auto _ : state) stream.Publish(StateOf(values, ++step));
}
BENCHMARK(PublishToNobody)->Name("publish/unread")->ArgName("values")->Arg(784)->Arg(196'608);

}  // namespace
}  // namespace denoise
