// How much memory there is.
#ifndef DENOISE_SERVER_MODEL_RUNTIME_MEMORY_H_
#define DENOISE_SERVER_MODEL_RUNTIME_MEMORY_H_

#include <cstdint>

namespace denoise {

// Bytes that this process may use: the machine's memory, or less where its control groups
// say so.
uint64_t UsableMemory();

}  // namespace denoise

#endif  // DENOISE_SERVER_MODEL_RUNTIME_MEMORY_H_
