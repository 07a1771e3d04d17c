// The allocator of the process: jemalloc, linked into whatever calls a denoiser. LibTorch allocates
// every activation at every call, so its speed is a part of the denoiser's: see
// docs/decisions/0008-jemalloc.md. MALLOC_CONF in the environment wins over what is set here.
#ifndef DENOISE_SERVER_MODEL_RUNTIME_ALLOCATOR_H_
#define DENOISE_SERVER_MODEL_RUNTIME_ALLOCATOR_H_

#include <cstdint>

namespace denoise {

// Has LibTorch's CPU tensors pass CheckFits() first. Once, while there is no other thread.
void BoundTensors();

// Throws std::bad_alloc where so many bytes at once are more than this process may use at all.
// jemalloc would promise them, and the process be killed as they are written to.
void CheckFits(uint64_t bytes);

// From now on this thread's memory is of an arena that keeps its free pages, for as long as it
// runs: for engine threads, whose next call needs as many again. What other threads free goes back
// to the system at once, since it may be as much as any caller cares to send.
void KeepFreePages();

// Gives memory that is free back to the system, that of arenas which keep theirs too. Of the
// threads' own caches nothing is given. Thread-safe; takes milliseconds.
void ReleaseFreeMemory();

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_RUNTIME_ALLOCATOR_H_
