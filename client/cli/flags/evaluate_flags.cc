#include <limits>

#include "CLI/CLI.hpp"
#include "client/cli/evaluate_command.h"
#include "client/cli/flags/flag_types.h"

namespace denoise::cli {

void AddEvaluateFlags(CLI::App* app, EvaluateFlags* flags) {
  AddCommonFlags(app, &flags->common);
  AddModelFlags(app, &flags->model);
  app->add_option("FILE", flags->images,
                  "What is evaluated: .png or .npy of the model's shape; may be repeated")
      ->required()
      ->check(FileNamed({".png", ".npy"}));
  // One value each, so that a FILE may follow.
  app->add_option("--class", flags->classes, "Class of the samples; or one for each (7,3,9) [none]")
      ->delimiter(',')
      ->allow_extra_args(false);
  AddNamedFiles(app, "--condition", &flags->conditions,
                "Further input of the model, [1 or n, ...]; may be repeated [the model's null]");
  app->add_option("--timesteps", flags->num_timesteps,
                  "Estimate from so many terms, with a standard error [all: the bound itself]")
      ->check(Whole(2, std::numeric_limits<uint32_t>::max()));
  AddSwitch(app, "clip", &flags->clip, "Clip the predicted x_0 [the model's]", "Options");
  app->add_option("--seed", flags->seed, "Sample i is that of seed + i [the server picks one]");
  AddPriorityFlag(app, &flags->priority);
  app->add_flag("--per-timestep", flags->per_timestep,
                "Show every term too, as means over the samples; --json has all of them");
}

}  // namespace denoise::cli
