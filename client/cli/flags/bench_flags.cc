#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "client/cli/flags/flag_types.h"
#include "client/cli/load/bench_command.h"

namespace denoise::cli {
namespace {

constexpr int64_t kMostClients = 100'000;
constexpr absl::Duration kLongestPause = absl::Seconds(10);

// A flag for "A:3,B", where `parse` reads an A.
template <typename T, typename Parse>
CLI::Option* AddWeighted(CLI::App* app, const std::string& flag, std::vector<Weighted<T>>* values,
                         const std::string& help, Parse parse) {
  return app
      ->add_option_function<std::string>(
          flag,
          [flag, values, parse](const std::string& list) {
            std::set<T> seen;
            for (const auto& text : std::vector<std::string>(absl::StrSplit(list, ','))) {
              const auto parts = std::vector<std::string>(absl::StrSplit(text, ':'));
              Weighted<T> value{parse(parts[0])};
              if (parts.size() > 2 ||
                  (parts.size() == 2 && !absl::SimpleAtod(parts[1], &value.weight)) ||
                  !(value.weight > 0) || !std::isfinite(value.weight)) {
                throw CLI::ValidationError(
                    flag, "'" + text + "': a weight is a number above 0, as in " + parts[0] + ":2");
              }
              if (!seen.insert(value.value).second) {
                throw CLI::ValidationError(flag, "'" + parts[0] + "' is given twice");
              }
              values->push_back(value);
            }
          },
          help)
      ->type_name("A[:WEIGHT],...");
}

uint32_t ParseSteps(const std::string& text) {
  uint32_t steps = 0;
  if (!absl::SimpleAtoi(text, &steps) || steps == 0) {
    throw CLI::ValidationError("--steps", "'" + text + "' is not a whole number from 1 on");
  }
  return steps;
}

void ParseSlowReaders(const std::string& text, BenchFlags* flags) {
  const std::vector<std::string> parts = absl::StrSplit(text, '/');
  double share = 0;
  absl::Duration pause;
  if (parts.size() != 2 || !absl::SimpleAtod(parts[0], &share) || !(share > 0) || share > 1 ||
      !absl::ParseDuration(parts[1], &pause) || pause <= absl::ZeroDuration() ||
      pause > kLongestPause) {
    throw CLI::ValidationError("--slow-readers",
                               "'" + text +
                                   "' is not SHARE/PAUSE with a share above 0, at most 1, and a "
                                   "pause of at most 10s: write for example 0.1/200ms");
  }
  flags->slow_share = share;
  flags->slow_pause = pause;
}

void AddLoadFlags(CLI::App* app, BenchFlags* flags) {
  const std::string group = "Load";
  auto* clients =
      app->add_option("--clients", flags->clients,
                      "Closed loop: so many clients, each with one request under way at a time")
          ->check(Whole(1, kMostClients))
          ->capture_default_str()
          ->group(group);
  app->add_option_function<double>(
         "--rate",
         [flags](double rate) {
           if (!(rate > 0) || rate > 1e6) {
             throw CLI::ValidationError("--rate", "must be above 0 and at most 1000000 a second");
           }
           flags->rate = rate;
         },
         "Open loop: so many requests a second, as a Poisson process, whether or not any ended")
      ->type_name("REQUESTS/S")
      ->excludes(clients)
      ->group(group);
  AddDuration(app, "--duration", &flags->duration, "Time that is measured; inf: until Ctrl-C [10s]")
      ->group(group);
  AddDuration(app, "--warm-up", &flags->warm_up, "Time under load before that, not measured [1s]",
              ZeroIs::kAllowed)
      ->group(group);
  app->add_option("--seed", flags->seed, "Seed of the arrivals and of the requests")
      ->capture_default_str()
      ->group(group);
}

void AddRequestFlags(CLI::App* app, BenchFlags* flags) {
  const std::string group = "Requests";
  AddWeighted(app, "--steps", &flags->steps,
              "Step counts, mixed: 10,20,50, or with weights 10:3,50:1 [the model's]", ParseSteps)
      ->group(group);
  AddWeighted(app, "--sampler", &flags->samplers,
              "Samplers, mixed in the same way: " + NamesOf(NamedSamplers()) + " [the model's]",
              [](const std::string& text) { return Choose("--sampler", text, NamedSamplers()); })
      ->group(group);
  app->add_option("--class", flags->classes, "Class; several (7,3,9) are taken in turn [none]")
      ->delimiter(',')
      ->group(group);
  app->add_option("--n", flags->num_samples, "Samples of each request")
      ->check(Whole(1, std::numeric_limits<uint32_t>::max()))
      ->capture_default_str()
      ->group(group);
  app->add_option("--guidance", flags->guidance,
                  "Scale of classifier-free guidance; 0 or 1: none [the model's]")
      ->group(group);
  auto* stream =
      app->add_flag("--stream", flags->stream, "Stream x_t, of every step")->group(group);
  app->add_option("--every", flags->every, "Stream every so many steps only")
      ->check(Whole(1, std::numeric_limits<uint32_t>::max()))
      ->capture_default_str()
      ->needs(stream)
      ->group(group);
  app->add_option_function<std::string>(
         "--slow-readers", [flags](const std::string& text) { ParseSlowReaders(text, flags); },
         "Share of the requests that pause so long before each further event: 0.1/200ms [none]")
      ->type_name("SHARE/PAUSE")
      ->needs(stream)
      ->group(group);
}

}  // namespace

void AddBenchFlags(CLI::App* app, BenchFlags* flags) {
  AddCommonFlags(app, &flags->common);
  AddModelFlags(app, &flags->model);
  AddLoadFlags(app, flags);
  AddRequestFlags(app, flags);
  app->add_option("--histogram", flags->histogram,
                  "Write a picture of the latencies by step count: a .png")
      ->check(FileNamed({".png"}))
      ->group("Output");
  app->callback([flags] {
    if (flags->warm_up == absl::InfiniteDuration()) {
      throw CLI::ValidationError("--warm-up", "must end, or nothing would be measured");
    }
  });
}

WorkloadOptions MakeWorkloadOptions(const BenchFlags& flags, const Model& model) {
  WorkloadOptions options{.steps = flags.steps,
                          .samplers = flags.samplers,
                          .classes = flags.classes,
                          .slow_share = flags.slow_share,
                          .seed = flags.seed};
  // Named, so that the figures say what it was.
  if (options.steps.empty()) options.steps = {{model.default_steps}};
  if (options.samplers.empty()) options.samplers = {{Sampler::Kind::kModelDefault}};
  options.request.model = flags.model.name;
  options.request.model_version = flags.model.version;
  options.request.num_samples = flags.num_samples;
  options.request.guidance_scale = flags.guidance;
  if (flags.stream) {
    options.request.states.every_n_steps = flags.every;
    options.request.states.content = {Content::kXt};
  }
  return options;
}

}  // namespace denoise::cli
