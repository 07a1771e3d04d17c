// What a scheduler_config.json says of a diffusion's betas. Private to this folder.
#ifndef DENOISE_SERVER_DIFFUSION_BETA_CONFIG_H_
#define DENOISE_SERVER_DIFFUSION_BETA_CONFIG_H_

#include <vector>

#include "server/diffusion/config_reader.h"
#include "server/diffusion/samplers/samplers.h"
#include "server/diffusion/scheduler_config.h"

namespace denoise {

// [num_train_timesteps], float32 numbers that NoiseSchedule takes; nothing after an error, which is
// noted where they do not make a forward process that can be reversed in float32. `spec` is the
// first sampler of the file's class.
std::vector<double> ReadBetas(const SamplerSpec& spec, Prediction prediction, ConfigReader* reader);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_BETA_CONFIG_H_
