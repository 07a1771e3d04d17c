// One request in and one out, by how many wait.
#include <memory>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "server/engine/waiting_queue.h"

namespace denoise {
namespace {

void PushAndPull(benchmark::State& state, Order order) {
  const size_t waiting = state.range(0);
  WaitingQueue queue({.max_waiting = waiting + 1,
                      .policy = Policy({.order = order, .max_wait = std::chrono::hours(24)})});
  std::vector<std::shared_ptr<const Table>> tables;
  for (const size_t steps : {10, 20, 50, 250}) {
    auto table = std::make_shared<Table>();
    table->rows.resize(steps);
    tables.push_back(std::move(table));
  }
  SteadyTime now = SteadyTime() + std::chrono::hours(1);
  size_t number = 0;
  const auto next = [&] {
    auto request = std::make_shared<Request>();
    request->table = tables[number % tables.size()];
    request->tenant = std::to_string(number % 10);
    request->arrival = now;
    ++number;
    now += std::chrono::microseconds(1);
    return request;
  };
  for (size_t i = 0; i < waiting; ++i) {
    if (!queue.TryPush(next()).ok()) state.SkipWithError("the queue is full");
  }
  for (auto _ : state) {
    if (!queue.TryPush(next()).ok()) {
      state.SkipWithError("the queue is full");
      break;
    }
    benchmark::DoNotOptimize(queue.Pull(0, {.active = 0, .room = 1}, now));
  }
}
BENCHMARK_CAPTURE(PushAndPull, fcfs, Order::kFcfs)
    ->Name("queue/fcfs")
    ->ArgName("waiting")
    ->Arg(0)
    ->Arg(256)
    ->Arg(4096);
BENCHMARK_CAPTURE(PushAndPull, srpf, Order::kSrpf)
    ->Name("queue/srpf")
    ->ArgName("waiting")
    ->Arg(0)
    ->Arg(256)
    ->Arg(4096);
BENCHMARK_CAPTURE(PushAndPull, fair, Order::kFair)
    ->Name("queue/fair")
    ->ArgName("waiting")
    ->Arg(0)
    ->Arg(256)
    ->Arg(4096);

}  // namespace
}  // namespace denoise
