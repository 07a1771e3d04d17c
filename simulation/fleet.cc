#include "simulation/fleet.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <numeric>
#include <queue>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/diffusion/table.h"
#include "server/engine/chain_exchange.h"
#include "server/engine/request.h"
#include "server/engine/waiting_queue.h"
#include "simulation/replica.h"

namespace denoise {
namespace {

// In [0, 1). The library's distributions differ from platform to platform.
double Uniform(std::mt19937_64* generator) {
  return std::ldexp(static_cast<double>((*generator)() >> 11), -53);
}

uint64_t Below(uint64_t bound, std::mt19937_64* generator) {
  return static_cast<uint64_t>(Uniform(generator) * static_cast<double>(bound));
}

// What is known of a request while it is under way, and whether it has ended.
struct Arrival : Request {
  uint32_t steps = 0;
  bool greedy = false;
  mutable bool ended = false;
};

struct Server {
  std::unique_ptr<WaitingQueue> queue;
  std::unique_ptr<ChainExchange> exchange;
  std::deque<Replica> replicas;  // which are not copied
  std::vector<char> idle;        // by replica
  std::vector<char> woken;       // by the exchange
};

// A denoiser call that ends.
struct TickEnd {
  SteadyTime at;
  uint32_t server = 0;
  uint32_t replica = 0;
  friend bool operator>(const TickEnd& a, const TickEnd& b) {
    if (a.at != b.at) return a.at > b.at;
    return a.server != b.server ? a.server > b.server : a.replica > b.replica;
  }
};

class Fleet {
 public:
  Fleet(const FleetOptions& options, const BatchCurve& curve);
  FleetReport Run();

 private:
  std::shared_ptr<Arrival> NextArrival();
  uint32_t NextServer(uint32_t client);
  void Arrive();
  void BeginTick(uint32_t server, uint32_t replica);
  void EndTick(const TickEnd& tick);
  bool InDuration(SteadyTime time) const { return time >= from_ && time < to_; }

  const FleetOptions options_;
  const BatchCurve& curve_;
  const SteadyTime from_;
  const SteadyTime to_;
  std::mt19937_64 arrivals_;
  std::mt19937_64 choices_;

  std::shared_ptr<const ModelInfo> model_;
  std::vector<std::shared_ptr<const Table>> tables_;  // by step count
  std::vector<uint32_t> next_server_;                 // by client; the last is the greedy one
  std::vector<Server> servers_;
  std::priority_queue<TickEnd, std::vector<TickEnd>, std::greater<>> ticks_;
  SteadyTime now_;
  SteadyTime next_arrival_;

  FleetReport report_;
  uint64_t batches_ = 0;  // in the duration
  uint64_t rows_ = 0;
};

Fleet::Fleet(const FleetOptions& options, const BatchCurve& curve)
    : options_(options),
      curve_(curve),
      // Not at 0, since the age of a request is compared with max_wait.
      from_(SteadyTime() + std::chrono::hours(1) + options.warm_up),
      to_(from_ + options.duration),
      arrivals_(options.seed),
      choices_(~options.seed),
      now_(SteadyTime() + std::chrono::hours(1)),
      next_arrival_(now_) {
  auto model = std::make_shared<ModelInfo>();
  model->batch_sizes = curve.batch_sizes;
  for (const int64_t size : curve.batch_sizes) {
    model->denoiser_seconds.push_back(std::chrono::duration<double>(curve.TimeFor(size)).count());
  }
  model->replicas = options.replicas;
  model_ = std::move(model);
  for (const uint32_t steps : options.steps) {
    auto table = std::make_shared<Table>();
    table->total_steps = steps;
    table->rows.resize(steps);
    tables_.push_back(std::move(table));
  }
  for (uint32_t i = 0; i <= options.clients; ++i) {
    next_server_.push_back(static_cast<uint32_t>(Below(options.servers, &choices_)));
  }
  const Policy policy(options.policy);
  servers_.resize(options.servers);
  for (Server& server : servers_) {
    server.queue =
        std::make_unique<WaitingQueue>(WaitingQueue::Options{.max_waiting = options.max_waiting,
                                                             .max_backlog = options.max_backlog,
                                                             .engines = options.replicas,
                                                             .policy = policy});
    server.exchange = std::make_unique<ChainExchange>(options.replicas);
    server.idle.assign(options.replicas, true);
    server.woken.assign(options.replicas, false);
    for (int i = 0; i < options.replicas; ++i) {
      server.replicas.emplace_back(
          Replica::Options{.index = i,
                           .batching = options.batching,
                           .max_active = (options.max_active + options.replicas - 1) /
                                         static_cast<size_t>(options.replicas),
                           .policy = policy,
                           .exchange = server.exchange.get()},
          curve.batch_sizes, server.queue.get());
      server.exchange->Join(i, [&server, i] { server.woken[i] = true; });
    }
  }
}

std::shared_ptr<Arrival> Fleet::NextArrival() {
  auto arrival = std::make_shared<Arrival>();
  const size_t kind = Below(tables_.size(), &choices_);
  arrival->steps = options_.steps[kind];
  arrival->table = tables_[kind];
  arrival->greedy = Uniform(&choices_) < options_.greedy_share;
  arrival->arrival = now_;
  arrival->limits.max_waiting = options_.max_waiting_per_tenant;
  arrival->model = model_;
  return arrival;
}

void Fleet::Arrive() {
  const std::shared_ptr<Arrival> arrival = NextArrival();
  const uint32_t client = arrival->greedy
                              ? options_.clients
                              : static_cast<uint32_t>(Below(options_.clients, &choices_));
  arrival->tenant = absl::StrCat(client);
  const uint32_t server = next_server_[client];
  next_server_[client] = (server + 1) % static_cast<uint32_t>(servers_.size());
  ++report_.arrived;
  if (!servers_[server].queue->TryPush(arrival).ok()) {
    ++report_.refused;
    if (InDuration(now_)) ++report_.refused_in_duration;
    return;
  }
  // Every engine is woken by a push; those in a call come when it has ended.
  for (uint32_t i = 0; i < servers_[server].idle.size(); ++i) {
    if (servers_[server].idle[i]) BeginTick(server, i);
  }
}

void Fleet::BeginTick(uint32_t server, uint32_t replica) {
  Replica& one = servers_[server].replicas[replica];
  const bool runs = one.Begin(now_);
  servers_[server].idle[replica] = !runs;
  if (!runs) return;
  ticks_.push({now_ + curve_.TimeFor(one.batch().padded_rows), server, replica});
  // Those that it has sent chains to; they had none.
  for (uint32_t i = 0; i < servers_[server].woken.size(); ++i) {
    if (std::exchange(servers_[server].woken[i], false)) BeginTick(server, i);
  }
}

void Fleet::EndTick(const TickEnd& tick) {
  Replica& replica = servers_[tick.server].replicas[tick.replica];
  ++report_.ticks;
  if (InDuration(now_)) {
    ++batches_;
    rows_ += replica.batch().rows;
  }
  replica.End([this](const Request& request) {
    const auto& arrival = static_cast<const Arrival&>(request);
    if (arrival.ended) ++report_.ended_twice;
    arrival.ended = true;
    ++report_.ended;
    if (!InDuration(arrival.arrival)) return;
    FleetLatencies& latencies = arrival.greedy ? report_.greedy : report_.by_steps[arrival.steps];
    latencies.seconds.push_back(static_cast<float>(SecondsBetween(arrival.arrival, now_)));
  });
  BeginTick(tick.server, tick.replica);
}

FleetReport Fleet::Run() {
  while (true) {
    const bool arriving = next_arrival_ < to_;
    if (arriving && (ticks_.empty() || next_arrival_ <= ticks_.top().at)) {
      now_ = next_arrival_;
      Arrive();
      const double gap = -std::log1p(-Uniform(&arrivals_)) / options_.rate;
      next_arrival_ += std::chrono::nanoseconds(static_cast<int64_t>(1e9 * gap));
    } else if (!ticks_.empty()) {
      const TickEnd tick = ticks_.top();
      ticks_.pop();
      now_ = tick.at;
      EndTick(tick);
    } else {
      break;
    }
  }
  const double seconds = std::chrono::duration<double>(options_.duration).count();
  report_.rows_per_second = static_cast<double>(rows_) / seconds;
  report_.rows_per_batch =
      batches_ > 0 ? static_cast<double>(rows_) / static_cast<double>(batches_) : 0;
  return std::move(report_);
}

}  // namespace

double FleetLatencies::Quantile(double q) const {
  if (seconds.empty()) return 0;
  std::vector<float> sorted = seconds;
  const size_t rank = static_cast<size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  const size_t index = std::min(sorted.size() - 1, rank > 0 ? rank - 1 : 0);
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(index),
                   sorted.end());
  return sorted[index];
}

double MeanSteps(const FleetOptions& options) {
  return std::accumulate(options.steps.begin(), options.steps.end(), 0.0) /
         static_cast<double>(options.steps.size());
}

FleetReport Simulate(const FleetOptions& options, const BatchCurve& curve) {
  return Fleet(options, curve).Run();
}

double Capacity(FleetOptions options, const BatchCurve& curve) {
  options.servers = 1;
  options.greedy_share = 0;
  // More than it can do: the queue stays full, and refuses the rest.
  options.rate = 1.5 * curve.RowsPerSecond() * options.replicas / MeanSteps(options);
  return Simulate(options, curve).rows_per_second;
}

}  // namespace denoise
