#include "server/model/torch_runtime.h"

#include <malloc.h>

#include <climits>
#include <thread>

#include "ATen/Parallel.h"
#include "torch/csrc/jit/runtime/graph_executor.h"

namespace denoise {

void PrepareProcess() {
  // glibc gives large activations back to the kernel after every call and asks for them again: at
  // 64 rows that costs a third of the speed. The pad is for the arenas of engine threads, which
  // grow by it.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 256 << 20);
  // As fast once warm, and the first call of a batch size takes 9 ms instead of 82.
  torch::jit::getProfilingMode() = false;
  at::set_num_threads(1);
}

void PrepareEngineThread(int threads) { at::set_num_threads(threads); }

absl::Status OnOwnThread(int threads, const std::function<absl::Status()>& work) {
  absl::Status status;
  std::thread thread([&] {
    PrepareEngineThread(threads);
    status = work();
  });
  thread.join();
  return status;
}

void ReleaseFreeMemory() { malloc_trim(0); }

}  // namespace denoise
