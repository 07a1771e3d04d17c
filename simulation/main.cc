// One run of the simulation, as a JSON document; scaling.py makes all those of docs/scaling.md.
#include <chrono>
#include <ctime>
#include <iostream>
#include <map>
#include <string>

#include "CLI/CLI.hpp"
#include "nlohmann/json.hpp"
#include "simulation/batch_curve.h"
#include "simulation/fleet.h"

namespace denoise {
namespace {

struct Flags {
  std::string curve;
  double load = 0.7;
  double max_wait = 30;
  double max_backlog = 10;
  double warm_up = 10;
  double duration = 60;
  bool capacity = false;
  FleetOptions fleet;
};

std::chrono::nanoseconds Nanoseconds(double seconds) {
  return std::chrono::nanoseconds(static_cast<int64_t>(1e9 * seconds));
}

void AddFlags(CLI::App* app, Flags* flags) {
  FleetOptions& fleet = flags->fleet;
  const CLI::Range positive(1, 1'000'000);
  app->add_option("--curve", flags->curve, "Times of the denoiser's calls, a JSON file")
      ->required();
  app->add_option("--clients", fleet.clients, "Who ask independently")
      ->check(positive)
      ->capture_default_str();
  app->add_option("--servers", fleet.servers, "Of which each client takes one after the other")
      ->check(positive)
      ->capture_default_str();
  app->add_option("--replicas", fleet.replicas, "Of each server")
      ->check(positive)
      ->capture_default_str();
  app->add_option("--load", flags->load,
                  "Rows that are asked for, as a share of what all replicas do at their best batch")
      ->check(CLI::Range(0.001, 100.0))
      ->capture_default_str();
  app->add_option("--steps", fleet.steps, "Step counts, equally likely")
      ->delimiter(',')
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  app->add_option("--greedy", fleet.greedy_share, "Share of the requests that one client sends")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app->add_option("--max-waiting", fleet.max_waiting, "As of denoised")->capture_default_str();
  app->add_option("--max-backlog", flags->max_backlog, "Seconds, as of denoised")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app->add_option("--max-active", fleet.max_active, "As of denoised")->capture_default_str();
  app->add_option("--max-waiting-per-tenant", fleet.max_waiting_per_tenant, "As of denoised")
      ->capture_default_str();
  app->add_option("--batching", fleet.batching, "step, request, none")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Batching>{
          {"step", Batching::kStep}, {"request", Batching::kRequest}, {"none", Batching::kNone}}))
      ->default_str("step");
  app->add_option("--policy", fleet.policy.order, "fcfs, srpf, fair")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Order>{
          {"fcfs", Order::kFcfs}, {"srpf", Order::kSrpf}, {"fair", Order::kFair}}))
      ->default_str("fcfs");
  app->add_option("--max-wait", flags->max_wait, "Seconds")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app->add_option("--warm-up", flags->warm_up, "Seconds")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app->add_option("--duration", flags->duration, "Seconds in which is counted")
      ->check(CLI::Range(0.001, 1e6))
      ->capture_default_str();
  app->add_option("--seed", fleet.seed, "Of arrivals and choices")->capture_default_str();
  app->add_flag("--capacity", flags->capacity,
                "Only rows a second of one server that always has enough to do");
}

nlohmann::json ToJson(const FleetLatencies& latencies) {
  return {{"count", latencies.seconds.size()},
          {"p50", latencies.Quantile(0.5)},
          {"p90", latencies.Quantile(0.9)},
          {"p99", latencies.Quantile(0.99)}};
}

nlohmann::json ToJson(const FleetReport& report) {
  nlohmann::json json = {{"arrived", report.arrived},
                         {"refused", report.refused},
                         {"ended", report.ended},
                         {"refused_in_duration", report.refused_in_duration},
                         {"rows_per_second", report.rows_per_second},
                         {"rows_per_batch", report.rows_per_batch},
                         {"ticks", report.ticks},
                         {"greedy", ToJson(report.greedy)},
                         {"by_steps", nlohmann::json::array()}};
  for (const auto& [steps, latencies] : report.by_steps) {
    json["by_steps"].push_back(ToJson(latencies));
    json["by_steps"].back()["steps"] = steps;
  }
  return json;
}

int Main(int argc, char** argv) {
  CLI::App app("Servers under load, on simulated time, with the server's own planning code");
  Flags flags;
  AddFlags(&app, &flags);
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<BatchCurve> curve = ReadBatchCurve(flags.curve);
  if (!curve.ok()) {
    std::cerr << "simulate: " << std::string(curve.status().message()) << "\n";
    return 1;
  }
  FleetOptions& fleet = flags.fleet;
  fleet.policy.max_wait = Nanoseconds(flags.max_wait);
  fleet.max_backlog = Nanoseconds(flags.max_backlog);
  fleet.warm_up = Nanoseconds(flags.warm_up);
  fleet.duration = Nanoseconds(flags.duration);
  if (flags.capacity) {
    std::cout << nlohmann::json{{"rows_per_second", Capacity(fleet, *curve)},
                                {"best", curve->RowsPerSecond() * fleet.replicas}}
              << std::endl;
    return 0;
  }
  fleet.rate =
      flags.load * curve->RowsPerSecond() * fleet.servers * fleet.replicas / MeanSteps(fleet);
  const std::clock_t begin = std::clock();
  const FleetReport report = Simulate(fleet, *curve);
  nlohmann::json json = ToJson(report);
  json["rate"] = fleet.rate;
  json["cpu_seconds"] = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  std::cout << json << std::endl;
  return 0;
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) { return denoise::Main(argc, argv); }
