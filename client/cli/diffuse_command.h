// denoise diffuse
#ifndef DENOISE_CLIENT_CLI_DIFFUSE_COMMAND_H_
#define DENOISE_CLIENT_CLI_DIFFUSE_COMMAND_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/console.h"
#include "client/cli/flags/common_flags.h"
#include "client/cli/interrupt.h"

namespace denoise::cli {

struct DiffuseFlags {
  CommonFlags common;
  ModelFlags model;
  std::vector<std::string> images;  // .png or .npy
  std::vector<uint32_t> timesteps;  // none: eight, evenly from 0 to T-1
  std::optional<uint64_t> seed;
  bool chain = false;
  std::string out;  // .png or .npy
  int scale = 0;
};

void AddDiffuseFlags(CLI::App* app, DiffuseFlags* flags);

// Diffuses and writes. Returns the exit code.
int RunDiffuse(const DiffuseFlags& flags, Client& client, Console& console, Interrupt& interrupt);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_DIFFUSE_COMMAND_H_
