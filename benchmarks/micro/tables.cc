// A request's table, which is made once for equal requests.
#include <string>

#include "benchmark/benchmark.h"
#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/sampler.h"

namespace denoise {
namespace {

void MakeTableOf(benchmark::State& state, SamplerKind kind, uint32_t steps) {
  SchedulerConfig config;
  config.betas = MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02);
  const NoiseSchedule schedule = ScheduleOf(config);
  size_t rows = 0;
  for (auto _ : state) {
    auto table =
        MakeTable(config, schedule, /*learned_variance=*/false, {.kind = kind, .steps = steps});
    if (!table.ok()) {
      state.SkipWithError(table.status().ToString().c_str());
      break;
    }
    rows = table->rows.size();
    benchmark::DoNotOptimize(table->rows.data());
  }
  state.counters["rows"] = static_cast<double>(rows);
}

const bool kRegistered = [] {
  for (const SamplerKind kind : AllSamplers()) {
    for (const uint32_t steps : {50u, 250u}) {
      const std::string name =
          "table/" + std::string(Name(kind)) + "/steps:" + std::to_string(steps);
      benchmark::RegisterBenchmark(name.c_str(), MakeTableOf, kind, steps)
          ->Unit(benchmark::kMicrosecond);
    }
  }
  return true;
}();

}  // namespace
}  // namespace denoise
