#include "server/model/tuning/trial.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <thread>
#include <vector>

#include "server/engine/mutex.h"
#include "server/model/denoiser/batch_inputs.h"
#include "server/model/examination/warm_up.h"
#include "server/model/runtime/torch_error.h"
#include "server/model/runtime/torch_runtime.h"

namespace denoise {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// One replica's part.
struct Part {
  absl::Status status;
  double seconds = 0;  // that its calls took
  int calls = 0;
};

absl::Status Warm(const Denoiser& denoiser, const ModelInfo& info, int64_t rows,
                  BatchInputs* inputs) {
  if (absl::Status status = FillAlike(info, rows, inputs); !status.ok()) return status;
  return inputs->Run(denoiser, rows).status();
}

void RunPart(const Denoiser& denoiser, const ModelInfo& info, int64_t rows, double seconds,
             std::barrier<>* all, Part* part) {
  try {
    BatchInputs inputs(info, denoiser, info.integer_time, rows);
    part->status = Warm(denoiser, info, rows, &inputs);
    all->arrive_and_wait();
    const Clock::time_point begin = Clock::now();
    while (part->status.ok() && (part->calls == 0 || part->seconds < seconds)) {
      part->status = inputs.Run(denoiser, rows).status();
      ++part->calls;
      part->seconds = SecondsSince(begin);
    }
  } catch (...) {
    part->status = CurrentExceptionStatus();
    all->arrive_and_drop();  // only what is before the barrier throws
  }
}

}  // namespace

absl::StatusOr<Slice> RunTrial(const Denoiser& denoiser, const ModelInfo& info, Plan plan,
                               int64_t rows, double seconds) {
  std::vector<Part> parts(plan.replicas);
  std::barrier all(plan.replicas);
  Mutex one_at_a_time;  // LibTorch clears caches of the process when a thread is prepared
  std::vector<std::thread> threads;
  threads.reserve(parts.size());
  for (Part& part : parts) {
    threads.emplace_back([&, part = &part] {
      {
        const MutexLock lock(one_at_a_time);
        PrepareEngineThread(plan.threads);
      }
      RunPart(denoiser, info, rows, seconds, &all, part);
    });
  }
  for (std::thread& thread : threads) thread.join();
  Slice slice;
  for (const Part& part : parts) {
    if (!part.status.ok()) return part.status;
    slice.rows_per_second += static_cast<double>(part.calls * rows) / part.seconds;
    slice.call_seconds += part.seconds / part.calls / plan.replicas;
  }
  return slice;
}

}  // namespace denoise
