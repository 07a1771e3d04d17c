#include "client/cli/task_loop.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include "client/cli/progress.h"

namespace denoise::cli {
namespace {

class SteadyLoop final : public TaskLoop {
 public:
  absl::Duration Now() const override { return SteadyNow(); }

  void At(absl::Duration when, Task task) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    tasks_.emplace(when, std::move(task));
    changed_.notify_one();
  }

  void Run() override {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!quit_) {
      if (tasks_.empty()) {
        changed_.wait(lock);
        continue;
      }
      const auto first = tasks_.begin();
      if (const absl::Duration wait = first->first - Now(); wait > absl::ZeroDuration()) {
        // Chrono's sums must not overflow, and waking too early does no harm.
        changed_.wait_for(lock, absl::ToChronoNanoseconds(std::min(wait, absl::Hours(1))));
        continue;
      }
      const Task task = std::move(first->second);
      tasks_.erase(first);
      lock.unlock();
      task();
      lock.lock();
    }
  }

  void Quit() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    quit_ = true;
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<absl::Duration, Task> tasks_;
  bool quit_ = false;
};

}  // namespace

std::shared_ptr<TaskLoop> MakeTaskLoop() { return std::make_shared<SteadyLoop>(); }

}  // namespace denoise::cli
