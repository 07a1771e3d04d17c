#include "server/model/runtime/torch_runtime.h"

#include <thread>

#include "ATen/Parallel.h"
#include "server/model/runtime/allocator.h"
#include "torch/csrc/jit/runtime/graph_executor.h"

namespace denoise {

void PrepareProcess() {
  BoundTensors();
  // As fast once warm, and the first call of a batch size takes 9 ms instead of 82.
  torch::jit::getProfilingMode() = false;
  at::set_num_threads(1);
}

void PrepareEngineThread(int threads) {
  KeepFreePages();
  // In this order: the first that LibTorch does for a thread, such as telling its number, sets that
  // to the one that any thread has set last.
  (void)at::get_num_threads();
  at::set_num_threads(threads);
}

absl::Status OnOwnThread(int threads, const std::function<absl::Status()>& work) {
  absl::Status status;
  std::thread thread([&] {
    PrepareEngineThread(threads);
    status = work();
  });
  thread.join();
  return status;
}

}  // namespace denoise
