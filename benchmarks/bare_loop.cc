// The loop that the service is compared with: LibTorch alone, one denoiser call after another at a
// fixed batch size. Runs one slice for each line on stdin, so that a script can take turns between
// it and a server in the same run.
//
//   bare_loop MODEL_DIR LAYOUT PRECISION REPLICAS THREADS BATCH SECONDS
//
// Built twice: bare_loop with glibc's malloc, bare_loop_jemalloc with the service's allocator.
//
// LAYOUT: contiguous | channels_last. PRECISION: float32 | bfloat16, by autocast. Prints the
// slice's denoiser rows a second.
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/autocast_mode.h"
#include "torch/script.h"
#ifdef DENOISE_ALLOCATOR
#include "server/model/runtime/allocator.h"
#endif

namespace {

torch::jit::Module Load(const std::string& path, bool channels_last) {
  torch::NoGradGuard no_grad;
  torch::jit::Module module = torch::jit::load(path);
  module.eval();
  if (channels_last) {
    for (at::Tensor weight : module.parameters()) {
      if (weight.dim() != 4) continue;
      weight.set_data(at::empty_like(weight, at::MemoryFormat::ChannelsLast).copy_(weight));
    }
  }
  return torch::jit::freeze(module);
}

// Calls until `stop`; the number of calls.
int64_t Loop(torch::jit::Module& module, bool channels_last, bool bfloat16, int threads,
             int64_t batch, const std::atomic<bool>& stop) {
  c10::InferenceMode guard;
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, bfloat16);  // of this thread
  at::set_num_threads(threads);
  at::Tensor x = at::randn({batch, 1, 28, 28});
  if (channels_last) x = at::empty_like(x, at::MemoryFormat::ChannelsLast).copy_(x);
  const at::Tensor t = at::full({batch}, 500.f);
  const at::Tensor y = at::full({batch}, 7, at::kLong);
  int64_t calls = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    module.forward({x, t, y});
    ++calls;
  }
  return calls;
}

}  // namespace

int main(int argc, char** argv) {
#ifdef DENOISE_ALLOCATOR
  denoise::ReleaseFreeMemory();  // so that it is linked: it is the allocator's with its settings
#else
  // glibc's malloc at its best for this: it gives large activations back to the kernel after every
  // call otherwise, which costs a third of the speed at 64 rows. The pad is for threads' arenas.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, 256 << 20);
#endif
  if (argc != 8) {
    std::cerr << "usage: bare_loop MODEL_DIR LAYOUT PRECISION REPLICAS THREADS BATCH SECONDS\n";
    return 64;
  }
  at::set_num_threads(1);
  torch::jit::getProfilingMode() = false;
  const bool channels_last = std::string(argv[2]) == "channels_last";
  const bool bfloat16 = std::string(argv[3]) == "bfloat16";
  const int replicas = std::atoi(argv[4]);
  const int threads = std::atoi(argv[5]);
  const int64_t batch = std::atoll(argv[6]);
  const std::chrono::duration<double> slice(std::atof(argv[7]));
  torch::jit::Module module = Load(std::string(argv[1]) + "/denoiser.pt", channels_last);

  // Threads of a replica live for a slice only, as OpenMP's teams do then; so warm each up inside,
  // before the clock.
  std::string line;
  while (std::getline(std::cin, line)) {
    std::atomic<bool> warm_stop{false}, stop{false};
    std::atomic<int> warm{0};
    std::atomic<bool> go{false};
    std::atomic<int64_t> calls{0};
    std::vector<std::thread> loops;
    for (int i = 0; i < replicas; ++i) {
      loops.emplace_back([&] {
        Loop(module, channels_last, bfloat16, threads, batch, warm_stop);
        ++warm;
        go.wait(false);
        calls += Loop(module, channels_last, bfloat16, threads, batch, stop);
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    warm_stop = true;
    while (warm < replicas) std::this_thread::yield();
    const auto begin = std::chrono::steady_clock::now();
    go = true;
    go.notify_all();
    std::this_thread::sleep_for(slice);
    stop = true;
    for (std::thread& loop : loops) loop.join();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::cout << calls * batch / took.count() << std::endl;
  }
}
