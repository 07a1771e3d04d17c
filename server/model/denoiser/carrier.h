// Where a model is called from.
#ifndef DENOISE_SERVER_MODEL_DENOISER_CARRIER_H_
#define DENOISE_SERVER_MODEL_DENOISER_CARRIER_H_

#include <functional>

#include "absl/status/status.h"

namespace denoise {

using Errand = std::function<absl::Status()>;

// Runs an errand on the thread on which a model may be called, and answers what it answered, or its
// own error where it did not come to that. Null: the calling thread.
//
// For a model that is loaded while an engine runs others: LibTorch is called on the engine's thread
// alone (torch_runtime.h), one call an errand, between two ticks.
using Carrier = std::function<absl::Status(const Errand&)>;

inline absl::Status Carry(const Carrier& carrier, const Errand& errand) {
  return carrier ? carrier(errand) : errand();
}

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_DENOISER_CARRIER_H_
