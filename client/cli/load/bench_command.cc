#include "client/cli/load/bench_command.h"

#include <sys/resource.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_codes.h"
#include "client/cli/files.h"
#include "client/cli/load/histogram_picture.h"
#include "client/cli/load/load_generator.h"
#include "client/cli/load/load_report.h"

namespace denoise::cli {
namespace {

absl::Duration CpuTime() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return absl::DurationFromTimeval(usage.ru_utime) + absl::DurationFromTimeval(usage.ru_stime);
}

std::string HistogramPng(const LoadStats& stats) {
  std::vector<LabelledHistogram> histograms = {{"all", &stats.all.total}};
  if (stats.by_steps.size() > 1) {
    for (const auto& [steps, latencies] : stats.by_steps) {
      histograms.push_back({absl::StrCat(steps, " steps"), &latencies.total});
    }
  }
  return EncodePng(DrawHistograms(histograms));
}

// What was done, in a line's beginning.
std::string NameOf(const BenchFlags& flags) {
  return flags.rate > 0 ? absl::StrFormat("open loop at %g requests/s", flags.rate)
                        : absl::StrCat("closed loop of ", flags.clients, " clients");
}

nlohmann::json ToJson(const BenchFlags& flags, const Model& model, const LoadStats& stats,
                      bool interrupted) {
  nlohmann::json document = ToJson(stats);
  document["model"] = model.name;
  document["model_version"] = model.version;
  document["loop"] = flags.rate > 0 ? "open" : "closed";
  if (flags.rate > 0) {
    document["rate"] = flags.rate;
  } else {
    document["clients"] = flags.clients;
  }
  document["seed"] = flags.seed;
  document["interrupted"] = interrupted;
  if (!flags.histogram.empty()) document["histogram"] = flags.histogram;
  return document;
}

}  // namespace

int RunBench(const BenchFlags& flags, Client& client, Console& console, Interrupt& interrupt,
             const std::shared_ptr<TaskLoop>& loop) {
  if (!flags.histogram.empty()) {
    if (auto status = CheckWritable(flags.histogram); !status.ok()) {
      return console.Fail(status, EX_CANTCREAT);
    }
  }
  const auto model =
      client.GetModel(flags.model.name, flags.model.version, flags.common.call_options());
  if (!model.ok()) return console.Fail(model.status());

  LoadGenerator generator(client,
                          {.clients = flags.clients,
                           .rate = flags.rate,
                           .warm_up = flags.warm_up,
                           .duration = flags.duration,
                           .slow_pause = flags.slow_pause,
                           .call = flags.common.call_options(),
                           .cpu_time = CpuTime},
                          Workload(MakeWorkloadOptions(flags, *model)), loop);
  absl::Status status;
  {
    const Interrupt::Scope scope(&interrupt, [&generator] { generator.Stop(); });
    status = generator.Run();
  }
  if (!status.ok()) return console.Fail(status);

  const LoadStats& stats = generator.stats();
  const bool interrupted = interrupt.signal() != 0;
  console.Say(absl::StrCat(model->name, " version ", model->version, ", ", NameOf(flags),
                           interrupted ? ", interrupted" : ""));
  Tell(stats, console);
  if (!flags.histogram.empty()) {
    if (status = WriteFile(flags.histogram, HistogramPng(stats)); !status.ok()) {
      return console.Fail(status, EX_CANTCREAT);
    }
    console.Say(absl::StrCat("wrote ", flags.histogram));
  }
  if (console.json) console.Write(ToJson(flags, *model, stats, interrupted));
  if (interrupted) return 128 + interrupt.signal();
  // Nothing but errors is no measurement.
  if (stats.all.total.count() == 0 && !stats.errors.empty()) {
    const absl::Status& first = stats.errors.begin()->second.first;
    console.err << "denoise: no request succeeded" << std::endl;
    return ExitCodeOf(first);
  }
  return EX_OK;
}

}  // namespace denoise::cli
