// denoise evaluate
#ifndef DENOISE_CLIENT_CLI_EVALUATE_COMMAND_H_
#define DENOISE_CLIENT_CLI_EVALUATE_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/console.h"
#include "client/cli/flags/common_flags.h"
#include "client/cli/flags/named_file.h"
#include "client/cli/interrupt.h"

namespace denoise::cli {

struct EvaluateFlags {
  CommonFlags common;
  ModelFlags model;
  std::vector<std::string> images;  // .png or .npy
  std::vector<int64_t> classes;
  std::vector<NamedFile> conditions;
  uint32_t num_timesteps = 0;  // 0: all
  std::optional<bool> clip;
  std::optional<uint64_t> seed;
  bool per_timestep = false;
  int32_t priority = 0;
};

void AddEvaluateFlags(CLI::App* app, EvaluateFlags* flags);

// Evaluates and prints. Returns the exit code.
int RunEvaluate(const EvaluateFlags& flags, Client& client, Console& console, Interrupt& interrupt);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_EVALUATE_COMMAND_H_
