#include "client/cli/interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <utility>

namespace denoise::cli {
namespace {

// Tells the watching thread to end. Blocked like the others, so nothing but sigwait sees it.
constexpr int kStop = SIGUSR1;

}  // namespace

Interrupt::Scope::Scope(Interrupt* interrupt, std::function<void()> cancel)
    : interrupt_(interrupt) {
  std::lock_guard<std::mutex> lock(interrupt_->mutex_);
  interrupt_->cancel_ = std::move(cancel);
}

Interrupt::Scope::~Scope() {
  std::lock_guard<std::mutex> lock(interrupt_->mutex_);
  interrupt_->cancel_ = nullptr;
}

bool Interrupt::Trigger(int signal) {
  // Under the lock, so that what is cancelled is there until it has been.
  std::lock_guard<std::mutex> lock(mutex_);
  if (cancel_ == nullptr || signal_ != 0) return false;
  signal_ = signal;
  cancel_();
  return true;
}

int Interrupt::signal() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return signal_;
}

SignalWatcher::SignalWatcher(Interrupt* interrupt) : interrupt_(interrupt) {
  sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, kStop}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  thread_ = std::thread([this] { Watch(); });
}

SignalWatcher::~SignalWatcher() {
  pthread_kill(thread_.native_handle(), kStop);
  thread_.join();
}

void SignalWatcher::Watch() {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0) continue;
    if (signal == kStop) return;
    if (!interrupt_->Trigger(signal)) _exit(128 + signal);
  }
}

}  // namespace denoise::cli
