// What a scheduler_config.json says of a flow model. Private to this folder.
#ifndef DENOISE_SERVER_DIFFUSION_FLOW_CONFIG_H_
#define DENOISE_SERVER_DIFFUSION_FLOW_CONFIG_H_

#include "server/diffusion/config_reader.h"
#include "server/diffusion/samplers/samplers.h"
#include "server/diffusion/scheduler_config.h"

namespace denoise {

// The class that flow models alone have, and that is read as Euler's. Files of the multistep
// solvers are of flow models where they say prediction_type flow_prediction and use_flow_sigmas.
inline constexpr const char* kFlowClass = "FlowMatchEulerDiscreteScheduler";

// Sets config->flow where the file is that of a flow model, and the default sampler of kFlowClass;
// notes an error where the keys contradict each other. `config` has its class, prediction, sigmas,
// final sigma and default sampler already; `spec` is the first sampler of the file's class.
void ReadFlow(const SamplerSpec& spec, ConfigReader* reader, SchedulerConfig* config);

}  // namespace denoise

#endif  // DENOISE_SERVER_DIFFUSION_FLOW_CONFIG_H_
