// The update of a row, after its denoiser call.
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "server/diffusion/beta_schedule.h"
#include "server/diffusion/sampler.h"
#include "server/model/chain/row_update.h"

namespace denoise {
namespace {

void Update(benchmark::State& state, SamplerKind kind, size_t values) {
  SchedulerConfig config;
  config.betas = MakeBetas(BetaSchedule::kLinear, 1000, 0.0001, 0.02);
  const auto table = MakeTable(config, ScheduleOf(config), /*learned_variance=*/false,
                               {.kind = kind, .steps = 50});
  if (!table.ok()) {
    state.SkipWithError(table.status().ToString().c_str());
    return;
  }
  const Row& row = table->rows[table->rows.size() / 2];
  std::vector<float> registers(values * table->registers, 0.5f);
  const std::vector<float> start = registers;
  const std::vector<float> out(values, 0.1f), z(values, 0.2f);
  std::vector<float> scratch(values);
  const RowInputs in{.out = out.data(), .z = row.noise ? z.data() : nullptr};
  for (auto _ : state) {
    if (!UpdateRow(row, table->registers, static_cast<int64_t>(values), in, registers.data(), {},
                   scratch.data())) {
      // It has grown for too long.
      state.PauseTiming();
      registers = start;
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * values));
}

const bool kRegistered = [] {
  for (const SamplerKind kind : {SamplerKind::kDdim, SamplerKind::kDdpm, SamplerKind::kDpmpp2M,
                                 SamplerKind::kLms, SamplerKind::kPndm}) {
    for (const size_t values : {size_t{784}, size_t{196'608}}) {
      const std::string name =
          "update/" + std::string(Name(kind)) + "/values:" + std::to_string(values);
      benchmark::RegisterBenchmark(name.c_str(), Update, kind, values);
    }
  }
  return true;
}();

}  // namespace
}  // namespace denoise
