// Work that one thread does, at its time.
#ifndef DENOISE_CLIENT_CLI_TASK_LOOP_H_
#define DENOISE_CLIENT_CLI_TASK_LOOP_H_

#include <functional>
#include <memory>
#include <utility>

#include "absl/time/time.h"

namespace denoise::cli {

// Thread-safe, but for Run().
class TaskLoop {
 public:
  using Task = std::function<void()>;

  virtual ~TaskLoop() = default;

  // Time that only goes forward.
  virtual absl::Duration Now() const = 0;
  // Has Run() run `task` at that time, or as soon as it can afterwards. Those of one time run in
  // the order in which they came.
  virtual void At(absl::Duration when, Task task) = 0;
  void Soon(Task task) { At(Now(), std::move(task)); }
  // Runs tasks, and sleeps between them, until one calls Quit().
  virtual void Run() = 0;
  virtual void Quit() = 0;
};

// By the steady clock.
std::shared_ptr<TaskLoop> MakeTaskLoop();

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_TASK_LOOP_H_
