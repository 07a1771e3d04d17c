// A thread that does one thing after another.
#ifndef DENOISE_SERVER_TASK_THREAD_H_
#define DENOISE_SERVER_TASK_THREAD_H_

#include <deque>
#include <functional>
#include <thread>
#include <utility>

#include "server/engine/mutex.h"

namespace denoise {

// Thread-safe, but for the destructor.
class TaskThread {
 public:
  TaskThread() : thread_([this] { Loop(); }) {}
  ~TaskThread() { Stop(); }

  // Does nothing after Stop: the task is destroyed unrun.
  void Post(std::function<void()> task) {
    MutexLock lock(mutex_);
    if (stopping_) return;
    tasks_.push_back(std::move(task));
    condition_.Signal();
  }

  // Lets the running task end; those that wait are not run. Not from a task.
  void Stop() {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      condition_.Signal();
    }
    if (thread_.joinable()) thread_.join();
    std::deque<std::function<void()>> unrun;
    MutexLock lock(mutex_);
    unrun.swap(tasks_);
  }

 private:
  void Loop() {
    while (true) {
      std::function<void()> task;
      {
        MutexLock lock(mutex_);
        while (tasks_.empty() && !stopping_) condition_.Wait(mutex_);
        if (stopping_) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  Mutex mutex_;
  CondVar condition_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last, so that it is joined before anything it uses goes
};

}  // namespace denoise

#endif  // DENOISE_SERVER_TASK_THREAD_H_
