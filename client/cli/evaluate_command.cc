#include "client/cli/evaluate_command.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/exit_codes.h"
#include "client/cli/pictures/input_files.h"
#include "client/cli/progress.h"

namespace denoise::cli {
namespace {

struct Outcome {
  Accepted accepted;
  std::map<uint32_t, Term, std::greater<>> terms;  // by timestep, as the bound is written
  Likelihood likelihood;
};

// Reads the stream to its end.
absl::StatusOr<Outcome> Follow(EvaluateStream& stream, Progress& progress) {
  Outcome outcome;
  for (auto& event : stream) {
    if (!event.ok()) return event.status();
    if (auto* accepted = std::get_if<Accepted>(&*event)) {
      progress.Accepted(1, static_cast<uint32_t>(accepted->timesteps.size()),
                        accepted->queue_position, accepted->estimated_wait);
      outcome.accepted = std::move(*accepted);
    } else if (auto* term = std::get_if<Term>(&*event)) {
      outcome.terms[term->timestep] = std::move(*term);
      progress.Update(0, static_cast<uint32_t>(outcome.terms.size()));
    } else {
      outcome.likelihood = std::get<Likelihood>(*std::move(event));
    }
  }
  return outcome;
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(std::max<size_t>(1, values.size()));
}

void Summarise(const Outcome& outcome, Console& console) {
  const auto& [accepted, terms, likelihood] = outcome;
  const auto& [total, prior, error] = likelihood;
  console.Say(absl::StrCat(total.size(), " samples under ", accepted.model, " version ",
                           accepted.model_version, ", ", terms.size(), " terms, seed ",
                           accepted.seed));
  console.Say("sample  bits/dim  standard error     prior");
  for (size_t i = 0; i < total.size(); ++i) {
    console.Say(absl::StrFormat("%6d  %8.4f  %14.4f  %8.6f", i, total[i], error[i], prior[i]));
  }
  if (total.size() > 1) {
    console.Say(absl::StrFormat("  mean  %8.4f  %14s  %8.6f", Mean(total), "", Mean(prior)));
  }
}

// Of each timestep, the means over the samples.
void TellTerms(const Outcome& outcome, Console& console) {
  console.Say("\n     t    bits/dim     eps mse     x_0 mse");
  for (const auto& [timestep, term] : outcome.terms) {
    console.Say(absl::StrFormat("%6d  %10.4g  %10.4g  %10.4g", timestep, Mean(term.bits_per_dim),
                                Mean(term.eps_mse), Mean(term.x_0_mse)));
  }
}

nlohmann::json ToJson(const Outcome& outcome, const std::vector<int64_t>& shape) {
  const auto& [accepted, terms, likelihood] = outcome;
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [timestep, term] : terms) {
    list.push_back({{"timestep", timestep},
                    {"bits_per_dim", term.bits_per_dim},
                    {"eps_mse", term.eps_mse},
                    {"x_0_mse", term.x_0_mse}});
  }
  return {
      {"request_id", accepted.request_id},
      {"model", accepted.model},
      {"model_version", accepted.model_version},
      {"seed", accepted.seed},
      {"timesteps", accepted.timesteps},
      {"alpha_bars", accepted.alpha_bars},
      {"shape", shape},
      {"mean_bits_per_dim", Mean(likelihood.total_bits_per_dim)},
      {"total_bits_per_dim", likelihood.total_bits_per_dim},
      {"prior_bits_per_dim", likelihood.prior_bits_per_dim},
      {"standard_error", likelihood.standard_error},
      {"terms", list},
  };
}

absl::StatusOr<EvaluateRequest> MakeRequest(const EvaluateFlags& flags, const Model& model) {
  auto x_0 = ReadSamples("FILE", flags.images, model);
  if (!x_0.ok()) return x_0.status();
  auto conditions = ReadArrays("--condition", flags.conditions);
  if (!conditions.ok()) return conditions.status();
  return EvaluateRequest{.model = flags.model.name,
                         .model_version = flags.model.version,
                         .x_0 = *std::move(x_0),
                         .seed = flags.seed,
                         .class_labels = flags.classes,
                         .conditions = *std::move(conditions),
                         .num_timesteps = flags.num_timesteps,
                         .clip_sample = flags.clip,
                         .priority = flags.priority};
}

}  // namespace

int RunEvaluate(const EvaluateFlags& flags, Client& client, Console& console,
                Interrupt& interrupt) {
  const auto model =
      client.GetModel(flags.model.name, flags.model.version, flags.common.call_options());
  if (!model.ok()) return console.Fail(model.status());
  const auto request = MakeRequest(flags, *model);
  if (!request.ok()) return console.Fail(request.status(), InputExitCode(request.status()));

  absl::StatusOr<Outcome> outcome;
  {
    EvaluateStream stream = client.Evaluate(*request, flags.common.call_options());
    const Interrupt::Scope scope(&interrupt, [&stream] { stream.Cancel(); });
    Progress progress(&console, SteadyNow, "term");
    outcome = Follow(stream, progress);
  }
  if (absl::IsCancelled(outcome.status()) && interrupt.signal() != 0) {
    return console.Interrupted(interrupt.signal());
  }
  if (!outcome.ok()) return console.Fail(outcome.status());

  Summarise(*outcome, console);
  if (flags.per_timestep) TellTerms(*outcome, console);
  if (console.json) console.Write(ToJson(*outcome, request->x_0.shape));
  return EX_OK;
}

}  // namespace denoise::cli
