// What an engine does at every tick, by how many chains it has.
#include <memory>
#include <vector>

#include "benchmark/benchmark.h"
#include "server/engine/batch_planner.h"
#include "server/engine/waiting_queue.h"
#include "simulation/replica.h"

namespace denoise {
namespace {

const std::vector<int64_t> kBatchSizes = {1, 2, 4, 8, 16};

// The planner alone.
void Plan(benchmark::State& state) {
  std::vector<Candidate> candidates(state.range(0));
  for (size_t i = 0; i < candidates.size(); ++i) {
    candidates[i].chain = i;
    candidates[i].denoiser_rows = i % 3 == 0 ? 2 : 1;  // some are guided
    candidates[i].values = 784;
  }
  const std::vector<std::vector<int64_t>> sizes = {kBatchSizes};
  BatchPlanner planner(Batching::kStep);
  for (auto _ : state) benchmark::DoNotOptimize(planner.Plan(candidates, sizes).rows);
}
BENCHMARK(Plan)->Name("planner")->ArgName("chains")->Arg(16)->Arg(256)->Arg(4096);

// With all that is around it: the look into the queue, ranking by the policy, the chains' steps.
void Tick(benchmark::State& state, Order order) {
  const Policy policy({.order = order, .max_wait = std::chrono::hours(24)});
  const size_t chains = state.range(0);
  WaitingQueue queue({.max_waiting = chains, .policy = policy});
  Replica replica({.max_active = chains, .policy = policy}, kBatchSizes, &queue);
  auto table = std::make_shared<Table>();
  table->rows.resize(10'000);
  SteadyTime now = SteadyTime() + std::chrono::hours(1);
  const auto fill = [&] {
    for (size_t i = 0; i < chains; ++i) {
      auto request = std::make_shared<Request>();
      request->table = table;
      request->tenant = std::to_string(i % 10);
      request->arrival = now;
      if (!queue.TryPush(std::move(request)).ok()) state.SkipWithError("the queue is full");
    }
  };
  fill();
  for (auto _ : state) {
    now += std::chrono::microseconds(1);
    if (!replica.Begin(now)) {  // all have come to their end
      state.PauseTiming();
      fill();
      state.ResumeTiming();
      continue;
    }
    replica.End([](const Request&) {});
  }
}
BENCHMARK_CAPTURE(Tick, fcfs, Order::kFcfs)
    ->Name("tick/fcfs")
    ->ArgName("chains")
    ->Arg(16)
    ->Arg(256)
    ->Arg(4096);
BENCHMARK_CAPTURE(Tick, srpf, Order::kSrpf)
    ->Name("tick/srpf")
    ->ArgName("chains")
    ->Arg(16)
    ->Arg(256)
    ->Arg(4096);
BENCHMARK_CAPTURE(Tick, fair, Order::kFair)
    ->Name("tick/fair")
    ->ArgName("chains")
    ->Arg(16)
    ->Arg(256)
    ->Arg(4096);

}  // namespace
}  // namespace denoise
