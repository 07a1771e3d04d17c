#include "client/cli/load/load_report.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace denoise::cli {
namespace {

constexpr std::pair<const char*, double> kQuantiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

// A second; 0 for a window without extent.
double Rate(uint64_t count, absl::Duration elapsed) {
  const double seconds = absl::ToDoubleSeconds(elapsed);
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

double Cores(const LoadStats& stats) {
  const double seconds = absl::ToDoubleSeconds(stats.elapsed());
  return seconds > 0 ? absl::ToDoubleSeconds(stats.cpu) / seconds : 0;
}

// In milliseconds.
std::string Cell(const LatencyHistogram& latencies, absl::Duration value) {
  if (latencies.count() == 0) return absl::StrFormat(" %9s", "-");
  return absl::StrFormat(" %9.2f", absl::ToDoubleMilliseconds(value));
}

void TellRow(const std::string& what, const std::string& of, const LatencyHistogram& latencies,
             Console& console) {
  std::string row = absl::StrFormat("%-12s %-11s %8d", what, of, latencies.count());
  for (const auto& [name, q] : kQuantiles) row += Cell(latencies, latencies.Quantile(q));
  console.Say(row + Cell(latencies, latencies.max()));
}

void TellRows(const std::string& what, const LoadStats& stats, LatencyHistogram Latencies::*which,
              Console& console) {
  TellRow(what, "all", stats.all.*which, console);
  if (stats.by_steps.size() < 2) return;  // nothing that "all" did not say
  for (const auto& [steps, latencies] : stats.by_steps) {
    TellRow("", absl::StrCat(steps, " steps"), latencies.*which, console);
  }
}

nlohmann::json ToJson(const LatencyHistogram& latencies) {
  const bool any = latencies.count() > 0;
  const auto seconds = [any](absl::Duration value) {
    return any ? nlohmann::json(absl::ToDoubleSeconds(value)) : nlohmann::json(nullptr);
  };
  nlohmann::json json = {{"count", latencies.count()},
                         {"mean", seconds(latencies.mean())},
                         {"max", seconds(latencies.max())}};
  for (const auto& [name, q] : kQuantiles) json[name] = seconds(latencies.Quantile(q));
  return json;
}

nlohmann::json ToJson(const Latencies& latencies) {
  return {{"total_seconds", ToJson(latencies.total)},
          {"queue_seconds", ToJson(latencies.queue)},
          {"first_state_seconds", ToJson(latencies.first_state)}};
}

}  // namespace

void Tell(const LoadStats& stats, Console& console) {
  console.Say(absl::StrFormat(
      "%d requests in %.2f s: %.2f requests/s, %.1f rows/s; CPU time of this client %.2f s "
      "(%.2f cores)",
      stats.requests, absl::ToDoubleSeconds(stats.elapsed()), Rate(stats.requests, stats.elapsed()),
      Rate(stats.rows, stats.elapsed()), absl::ToDoubleSeconds(stats.cpu), Cores(stats)));
  std::string header = absl::StrFormat("%-12s %-11s %8s", "milliseconds", "", "count");
  for (const auto& [name, q] : kQuantiles) header += absl::StrFormat(" %9s", name);
  console.Say(header + absl::StrFormat(" %9s", "max"));
  TellRows("total", stats, &Latencies::total, console);
  TellRows("queue", stats, &Latencies::queue, console);
  if (stats.all.first_state.count() > 0) {
    TellRows("first state", stats, &Latencies::first_state, console);
  }
  TellRow("send delay", "all", stats.send_delay, console);
  if (stats.states_dropped > 0) {
    console.Say(absl::StrCat(stats.states_dropped,
                             " states were left out, since they were read slower than they came"));
  }
  for (const auto& [code, errors] : stats.errors) {
    console.Say(absl::StrCat(errors.count, " requests failed, ", absl::StatusCodeToString(code),
                             ": ", std::string(errors.first.message())));
  }
}

nlohmann::json ToJson(const LoadStats& stats) {
  nlohmann::json json = ToJson(stats.all);
  json["elapsed_seconds"] = absl::ToDoubleSeconds(stats.elapsed());
  json["requests"] = stats.requests;
  json["requests_per_second"] = Rate(stats.requests, stats.elapsed());
  json["rows"] = stats.rows;
  json["rows_per_second"] = Rate(stats.rows, stats.elapsed());
  json["states_dropped"] = stats.states_dropped;
  json["send_delay_seconds"] = ToJson(stats.send_delay);
  json["client_cpu_seconds"] = absl::ToDoubleSeconds(stats.cpu);
  json["client_cores"] = Cores(stats);
  json["by_steps"] = nlohmann::json::array();
  for (const auto& [steps, latencies] : stats.by_steps) {
    json["by_steps"].push_back(ToJson(latencies));
    json["by_steps"].back()["steps"] = steps;
  }
  json["errors"] = nlohmann::json::object();
  for (const auto& [code, errors] : stats.errors) {
    json["errors"][absl::StatusCodeToString(code)] = errors.count;
  }
  return json;
}

}  // namespace denoise::cli
