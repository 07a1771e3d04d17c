#include "CLI/CLI.hpp"
#include "client/cli/diffuse_command.h"
#include "client/cli/flags/flag_types.h"

namespace denoise::cli {

void AddDiffuseFlags(CLI::App* app, DiffuseFlags* flags) {
  AddCommonFlags(app, &flags->common);
  AddModelFlags(app, &flags->model);
  app->add_option("--image", flags->images,
                  "What is diffused: .png or .npy of the model's shape; may be repeated");
  app->add_option("--timesteps", flags->timesteps,
                  "Where it is shown, ascending, such as 0,100,999 [eight, evenly spread]")
      ->delimiter(',');
  app->add_flag("--chain", flags->chain,
                "Walk step by step, so that a row's pictures belong together [each by itself]");
  app->add_option("--seed", flags->seed, "Sample i is that of seed + i [the server picks one]");
  app->add_option("--out", flags->out,
                  "Write a .png with a row a sample and a column a timestep, or the numbers as "
                  ".npy, [n, timesteps, C, H, W]")
      ->required()
      ->check(FileNamed({".png", ".npy"}));
  app->add_option("--scale", flags->scale, "Size of a sample's pixel in pictures [by its size]")
      ->check(Whole(1, 64));
  app->callback([flags] {
    if (flags->images.empty()) {
      throw CLI::ValidationError("diffuse needs something to diffuse",
                                 "give --image FILE, a .png or .npy of the model's shape (see "
                                 "denoise models)");
    }
  });
}

}  // namespace denoise::cli
