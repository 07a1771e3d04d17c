// Settings of the process and of its threads without which the denoiser runs at a fraction of its
// speed.
#ifndef DENOISE_SERVER_MODEL_RUNTIME_TORCH_RUNTIME_H_
#define DENOISE_SERVER_MODEL_RUNTIME_TORCH_RUNTIME_H_

#include <functional>

#include "absl/status/status.h"

namespace denoise {

// The first thing that main does, while there is no other thread: LibTorch's allocator and
// executor, and one thread for whatever main itself computes, because a second team of OpenMP's
// threads would slow down the engines' (libgomp stops spinning when there are more threads than
// cores).
void PrepareProcess();

// On every thread that calls a denoiser, before the first call: LibTorch's threads within a call,
// the caller included; ≥ 1.
void PrepareEngineThread(int threads);

// Runs `work` on a thread made for it, prepared with so many threads, that has ended when this
// returns: OpenMP keeps a team for every thread that has called it, until that thread ends.
absl::Status OnOwnThread(int threads, const std::function<absl::Status()>& work);

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_RUNTIME_TORCH_RUNTIME_H_
