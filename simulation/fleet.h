// Any number of servers under an open load, as a discrete-event simulation.
#ifndef DENOISE_SIMULATION_FLEET_H_
#define DENOISE_SIMULATION_FLEET_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <vector>

#include "server/engine/batch_planner.h"
#include "server/engine/policy.h"
#include "simulation/batch_curve.h"

namespace denoise {

struct FleetOptions {
  // Each server has one waiting queue for its replicas, with denoised's defaults for its limits.
  int servers = 1;
  int replicas = 2;          // of a server
  size_t max_waiting = 256;  // requests, of a server
  size_t max_waiting_per_tenant = 0;
  size_t max_active = 1024;  // chains, of a server
  std::chrono::nanoseconds max_backlog = std::chrono::seconds(10);
  Batching batching = Batching::kStep;
  Policy::Options policy = {};

  // Clients ask independently of each other, so that together they are a Poisson process. Each
  // sends its requests to the servers in turn, as gRPC's round_robin does, and is a tenant. A
  // request is one sample, of one of the step counts by equal chance.
  uint32_t clients = 10;
  double rate = 1;  // requests a second, of all clients
  std::vector<uint32_t> steps = {10, 20, 50, 250};
  // Share of all requests that one client more sends, which is a tenant too.
  double greedy_share = 0;
  uint64_t seed = 0;

  // Arrivals end after both; what has arrived is run to its end. Latencies are those of requests
  // that arrive within `duration`, rates of what is run in it.
  std::chrono::nanoseconds warm_up = std::chrono::seconds(10);
  std::chrono::nanoseconds duration = std::chrono::seconds(60);
};

// Seconds from arrival to end, in the order in which the requests ended.
struct FleetLatencies {
  std::vector<float> seconds;
  // The smallest that is not exceeded by q·count of them; 0 where there are none.
  double Quantile(double q) const;
};

struct FleetReport {
  // Of all time. Every request that arrives ends in one of two ways.
  uint64_t arrived = 0;
  uint64_t refused = 0;
  uint64_t ended = 0;
  uint64_t ended_twice = 0;  // none, unless something is wrong

  double rows_per_second = 0;
  double rows_per_batch = 0;                    // mean, without padding
  uint64_t ticks = 0;                           // of all time
  std::map<uint32_t, FleetLatencies> by_steps;  // without those of the greedy client
  FleetLatencies greedy;
  uint64_t refused_in_duration = 0;
};

// Steps of a request on average.
double MeanSteps(const FleetOptions& options);

// The same for the same options.
FleetReport Simulate(const FleetOptions& options, const BatchCurve& curve);

// Rows a second of one such server that always has enough to do.
double Capacity(FleetOptions options, const BatchCurve& curve);

}  // namespace denoise

#endif  // DENOISE_SIMULATION_FLEET_H_
