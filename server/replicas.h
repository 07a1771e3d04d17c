// Where the flags want models run and how loaded, and how many engines there are.
#ifndef DENOISE_SERVER_REPLICAS_H_
#define DENOISE_SERVER_REPLICAS_H_

#include "absl/status/statusor.h"
#include "server/devices.h"
#include "server/engine/model_info.h"
#include "server/flags.h"
#include "server/model/served_model.h"
#include "server/model/tuning/tuning_cache.h"

namespace denoise {

// The devices that the flags name, with LibTorch made ready for accelerators among them: before the
// first model is loaded. The errors of FindDevices.
absl::StatusOr<Devices> PrepareDevices(const Flags& flags);

// Of the first model: what the flags leave open is to be tuned; of accelerators there is an engine
// on each. `devices`: as PrepareDevices gives them. `cache`: null, or outlives the models.
LoadOptions OptionsOf(const Flags& flags, const Devices& devices, const TuningCache* cache);

// Makes later models be loaded for the engines that `first` was tuned for: how many engines there
// are is the process's, not a model's.
void FixReplicas(const ModelInfo& first, LoadOptions* options);

// Warns in the log where there are more threads than cores.
void WarnOfTooManyThreads(int replicas, int threads);

}  // namespace denoise

#endif  // DENOISE_SERVER_REPLICAS_H_
