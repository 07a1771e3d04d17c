// Flags of the sampler.
#ifndef DENOISE_CLIENT_CLI_FLAGS_SAMPLER_FLAGS_H_
#define DENOISE_CLIENT_CLI_FLAGS_SAMPLER_FLAGS_H_

#include "denoise/types.h"

namespace CLI {
class App;
}  // namespace CLI

namespace denoise::cli {

void AddSamplerFlags(CLI::App* app, Sampler* sampler);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_FLAGS_SAMPLER_FLAGS_H_
