// denoise models
#ifndef DENOISE_CLIENT_CLI_MODELS_COMMAND_H_
#define DENOISE_CLIENT_CLI_MODELS_COMMAND_H_

#include "client/cli/console.h"
#include "client/cli/flags/common_flags.h"

namespace denoise::cli {

struct ModelsFlags {
  CommonFlags common;
};

void AddModelsFlags(CLI::App* app, ModelsFlags* flags);

// Lists the models. Returns the exit code.
int RunModels(const ModelsFlags& flags, Client& client, Console& console);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_MODELS_COMMAND_H_
