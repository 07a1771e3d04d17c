// denoise: the command line of Denoised.
#include <sysexits.h>

#include <cstdio>
#include <exception>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/admin_command.h"
#include "client/cli/console.h"
#include "client/cli/diffuse_command.h"
#include "client/cli/evaluate_command.h"
#include "client/cli/exit_codes.h"
#include "client/cli/interrupt.h"
#include "client/cli/load/bench_command.h"
#include "client/cli/models_command.h"
#include "client/cli/sample_command.h"

namespace {

using denoise::cli::CommonFlags;
using denoise::cli::Console;
using denoise::cli::Interrupt;

// Connects, and runs the command.
template <typename Connect, typename Command>
int Run(Connect connect, Console console, Command command) {
  Interrupt interrupt;
  const denoise::cli::SignalWatcher watcher(&interrupt);
  auto client = connect();
  if (!client.ok()) {
    // A bad address is a bad flag.
    const bool usage = absl::IsInvalidArgument(client.status());
    return console.Fail(client.status(),
                        usage ? EX_USAGE : denoise::cli::ExitCodeOf(client.status()));
  }
  return command(*client, console, interrupt);
}

template <typename Command>
int Run(const CommonFlags& flags, Command command) {
  Console console = Console::OfProcess();
  console.json = flags.json;
  console.quiet = flags.quiet;
  return Run([&] { return denoise::cli::Connect(flags); }, console, command);
}

int RunAdmin(const denoise::cli::AdminFlags& flags) {
  Console console = Console::OfProcess();
  console.json = flags.server.json;
  // An interrupt ends the waiting; the server goes on.
  return Run([&] { return denoise::cli::Connect(flags); }, console,
             [&](auto& admin, auto& out, auto&) { return RunAdmin(flags, admin, out); });
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("denoise draws from the diffusion models of a Denoised server", "denoise");
  app.set_version_flag("--version", std::string("denoise ") + DENOISE_VERSION);
  app.require_subcommand(1);
  app.fallthrough(false);
  app.footer(denoise::cli::kExitCodesHelp);
  app.get_formatter()->column_width(34);

  denoise::cli::SampleFlags sample;
  auto* sample_app = app.add_subcommand("sample", "Draw samples: run the reverse process");
  AddSampleFlags(sample_app, &sample);
  denoise::cli::DiffuseFlags diffuse;
  auto* diffuse_app =
      app.add_subcommand("diffuse", "Add noise to samples: run the forward process");
  AddDiffuseFlags(diffuse_app, &diffuse);
  denoise::cli::EvaluateFlags evaluate;
  auto* evaluate_app =
      app.add_subcommand("evaluate", "Bound the likelihood of samples, in bits per dimension");
  AddEvaluateFlags(evaluate_app, &evaluate);
  denoise::cli::ModelsFlags models;
  auto* models_app = app.add_subcommand("models", "List the models that are served");
  AddModelsFlags(models_app, &models);
  denoise::cli::BenchFlags bench;
  auto* bench_app = app.add_subcommand("bench", "Measure a server under load");
  AddBenchFlags(bench_app, &bench);
  denoise::cli::AdminFlags admin;
  auto* admin_app = app.add_subcommand("admin", "Load, unload or reload a model of a server");
  AddAdminFlags(admin_app, &admin);
  for (auto* command : {sample_app, diffuse_app, evaluate_app, models_app, bench_app, admin_app}) {
    command->footer(denoise::cli::kExitCodesHelp);
    command->get_formatter()->column_width(34);
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EX_OK : EX_USAGE;
  }
  if (sample_app->parsed()) {
    return Run(sample.common, [&](auto& client, auto& console, auto& interrupt) {
      return RunSample(sample, client, console, interrupt);
    });
  }
  if (diffuse_app->parsed()) {
    return Run(diffuse.common, [&](auto& client, auto& console, auto& interrupt) {
      return RunDiffuse(diffuse, client, console, interrupt);
    });
  }
  if (evaluate_app->parsed()) {
    return Run(evaluate.common, [&](auto& client, auto& console, auto& interrupt) {
      return RunEvaluate(evaluate, client, console, interrupt);
    });
  }
  if (bench_app->parsed()) {
    return Run(bench.common, [&](auto& client, auto& console, auto& interrupt) {
      return RunBench(bench, client, console, interrupt);
    });
  }
  if (admin_app->parsed()) return RunAdmin(admin);
  return Run(models.common, [&](auto& client, auto& console, auto& interrupt) {
    return RunModels(models, client, console);
  });
} catch (const std::exception& error) {  // such as memory that ran out
  std::fprintf(stderr, "denoise: %s\n", error.what());
  return EX_SOFTWARE;
}
