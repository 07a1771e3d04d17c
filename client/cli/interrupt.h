// Ctrl-C.
#ifndef DENOISE_CLIENT_CLI_INTERRUPT_H_
#define DENOISE_CLIENT_CLI_INTERRUPT_H_

#include <csignal>
#include <functional>
#include <mutex>
#include <thread>

namespace denoise::cli {

// What an interrupt ends. Thread-safe.
class Interrupt {
 public:
  // While it lives, an interrupt calls `cancel` instead of ending the program.
  class Scope {
   public:
    Scope(Interrupt* interrupt, std::function<void()> cancel);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Interrupt* const interrupt_;
  };

  // True if there was something to cancel, and this is the first time.
  bool Trigger(int signal);

  // The signal that was triggered, or 0.
  int signal() const;

 private:
  mutable std::mutex mutex_;
  std::function<void()> cancel_;
  int signal_ = 0;
};

// Turns SIGINT and SIGTERM into `interrupt->Trigger()`; where that cancels nothing, and the second
// time, the program ends at once with 128 + the signal. One a program, made before any thread.
class SignalWatcher {
 public:
  explicit SignalWatcher(Interrupt* interrupt);
  ~SignalWatcher();

 private:
  void Watch();

  Interrupt* const interrupt_;
  sigset_t signals_;
  std::thread thread_;
};

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_INTERRUPT_H_
