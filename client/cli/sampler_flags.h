// Flags of how chains are walked.
#ifndef DENOISE_CLIENT_CLI_SAMPLER_FLAGS_H_
#define DENOISE_CLIENT_CLI_SAMPLER_FLAGS_H_

#include "CLI/CLI.hpp"
#include "denoise/types.h"

namespace denoise::cli {

void AddSamplerFlags(CLI::App* app, Sampler* sampler);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_SAMPLER_FLAGS_H_
