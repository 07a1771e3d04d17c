// Where a model is called from.
#ifndef DENOISE_SERVER_MODEL_DENOISER_CARRIER_H_
#define DENOISE_SERVER_MODEL_DENOISER_CARRIER_H_

#include <functional>

#include "absl/status/status.h"

namespace denoise {

using ModelCall = std::function<absl::Status()>;

// Runs a call on the thread on which a model may be called, and returns its status, or an error of
// its own where it could not run it. Null: the calling thread.
//
// For a model that is loaded while an engine runs others: LibTorch is called on the engine's thread
// alone (torch_runtime.h), one call at a time, between two ticks.
using Carrier = std::function<absl::Status(const ModelCall&)>;

inline absl::Status Carry(const Carrier& carrier, const ModelCall& call) {
  return carrier ? carrier(call) : call();
}

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_CARRIER_H_
