#include "client/src/reaper.h"

#include <deque>
#include <thread>

#include "client/src/mutex.h"

namespace denoise {
inline namespace client_v1 {
namespace {

// Never destroyed: calls may end as late as the program does.
class Reaper {
 public:
  Reaper() {
    std::thread([this] { Run(); }).detach();
  }

  void Add(std::function<void()> destroy) {
    MutexLock lock(&mutex_);
    waiting_.push_back(std::move(destroy));
    changed_.NotifyAll();
  }

 private:
  [[noreturn]] void Run() {
    for (;;) {
      std::function<void()> destroy;
      {
        MutexLock lock(&mutex_);
        while (waiting_.empty()) changed_.Wait(&mutex_);
        destroy = std::move(waiting_.front());
        waiting_.pop_front();
      }
      destroy();
    }
  }

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

void Reap(std::function<void()> destroy) {
  static Reaper* const reaper = new Reaper;
  reaper->Add(std::move(destroy));
}

}  // namespace client_v1
}  // namespace denoise
