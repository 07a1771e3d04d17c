// Time that passes when a test says so.
#ifndef DENOISE_TESTS_UNIT_CLIENT_FAKE_TIMER_H_
#define DENOISE_TESTS_UNIT_CLIENT_FAKE_TIMER_H_

#include <memory>
#include <utility>
#include <vector>

#include "client/src/mutex.h"
#include "client/src/timer.h"

namespace denoise {

// Thread-safe.
class FakeTimer final : public Timer {
 public:
  absl::Time Now() const override {
    MutexLock lock(&mutex_);
    return now_;
  }

  std::shared_ptr<Pending> Start(absl::Duration delay, Alarm alarm) override {
    auto entry = std::make_shared<Entry>(delay, std::move(alarm));
    MutexLock lock(&mutex_);
    entries_.push_back(entry);
    changed_.NotifyAll();
    return entry;
  }

  // Waits for the next pause to begin, and says how long it is to be.
  absl::Duration Next() {
    MutexLock lock(&mutex_);
    while (entries_.size() == taken_) changed_.Wait(&mutex_);
    return entries_[taken_++]->delay;
  }

  // Lets the last pause that Next() gave pass.
  void Pass() {
    std::shared_ptr<Entry> entry;
    {
      MutexLock lock(&mutex_);
      entry = entries_[taken_ - 1];
      now_ += entry->delay;
    }
    entry->Ring(true);
  }

 private:
  struct Entry final : Pending {
    Entry(absl::Duration d, Alarm a) : delay(d), alarm(std::move(a)) {}
    void Cancel() override { Ring(false); }
    void Ring(bool due) {
      if (auto rings = std::exchange(alarm, nullptr)) rings(due);
    }
    const absl::Duration delay;
    Alarm alarm;
  };

  mutable Mutex mutex_;
  mutable CondVar changed_;
  absl::Time now_ = absl::UnixEpoch() + absl::Hours(24 * 365);
  std::vector<std::shared_ptr<Entry>> entries_;
  size_t taken_ = 0;
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_CLIENT_FAKE_TIMER_H_
