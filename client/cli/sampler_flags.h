// Flags of how chains are walked.
#ifndef DENOISE_CLIENT_CLI_SAMPLER_FLAGS_H_
#define DENOISE_CLIENT_CLI_SAMPLER_FLAGS_H_

#include "CLI/CLI.hpp"
#include "client/cli/flag_types.h"
#include "denoise/types.h"

namespace denoise::cli {

// The names of the samplers.
Choices<Sampler::Kind> SamplerKinds();

void AddSamplerFlags(CLI::App* app, Sampler* sampler);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_SAMPLER_FLAGS_H_
