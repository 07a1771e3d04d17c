// LibTorch's exceptions as absl::Status: none of them leaves server/model.
#ifndef DENOISE_SERVER_MODEL_RUNTIME_TORCH_ERROR_H_
#define DENOISE_SERVER_MODEL_RUNTIME_TORCH_ERROR_H_

#include "absl/status/status.h"

namespace denoise {

// For use in a `catch (...)` only: the exception being handled. RESOURCE_EXHAUSTED where memory ran
// out, otherwise INTERNAL. The message is one line: the exception's own sentence, without
// LibTorch's stack, TorchScript's trace and names of source files.
absl::Status CurrentExceptionStatus();

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_RUNTIME_TORCH_ERROR_H_
