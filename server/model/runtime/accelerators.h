// Which accelerators LibTorch can run on, and how it is to run there. Without LibTorch's headers.
#ifndef DENOISE_SERVER_MODEL_RUNTIME_ACCELERATORS_H_
#define DENOISE_SERVER_MODEL_RUNTIME_ACCELERATORS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace denoise {

// Accelerators of one kind on this machine.
struct Accelerators {
  bool built = false;    // whether this LibTorch is built for them
  int count = 0;         // KIND:0 to KIND:(count-1) can be used
  std::string why_none;  // LibTorch's own word for it where it is built for them and count is 0
};

// `kind`: LibTorch's word, such as "cuda". Of kinds that it does not know there are none. Loads
// LibTorch's library for the kind, which takes a second or two, and asks the driver. While there is
// no other thread that uses LibTorch, and before anything else of it but PrepareProcess is called:
// what looks for the kind earlier does not find it later.
Accelerators FindAccelerators(absl::string_view kind);

// Settings for all accelerators of the process; before the first model is loaded. float32 means
// float32 (no TF32), so that answers agree with a CPU's. cuDNN tries its kernels at the first call
// of each batch size and keeps the fastest, but with `batch_invariant`, where the choice is not a
// clock's to make.
void PrepareAccelerators(bool batch_invariant);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_RUNTIME_ACCELERATORS_H_
