#include "server/rpc/writer_pool.h"

#include <utility>

namespace denoise {

WriterPool::WriterPool(Options options) : options_(options) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Loop(); });
}

WriterPool::~WriterPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    condition_.SignalAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void WriterPool::Schedule(std::shared_ptr<Writer> writer) {
  MutexLock lock(mutex_);
  ready_.push_back(std::move(writer));
  condition_.Signal();
}

WriterPool::WriteId WriterPool::WriteBegun(std::shared_ptr<Writer> writer) {
  MutexLock lock(mutex_);
  in_flight_.emplace(++last_write_, InFlight{std::move(writer), std::chrono::steady_clock::now()});
  // Somebody must now look at the clock. Where others are in flight, somebody does already.
  if (in_flight_.size() == 1) condition_.Signal();
  return last_write_;
}

void WriterPool::WriteEnded(WriteId write) {
  std::shared_ptr<Writer> writer;  // let go of under no lock
  MutexLock lock(mutex_);
  const auto it = in_flight_.find(write);
  if (it == in_flight_.end()) return;
  writer = std::move(it->second.writer);
  in_flight_.erase(it);
}

std::shared_ptr<Writer> WriterPool::TakeStalled(Time now) {
  if (in_flight_.empty()) return nullptr;
  const auto oldest = in_flight_.begin();
  if (now - oldest->second.begin < options_.write_timeout) return nullptr;
  std::shared_ptr<Writer> writer = std::move(oldest->second.writer);
  in_flight_.erase(oldest);
  return writer;
}

void WriterPool::Loop() {
  while (true) {
    std::shared_ptr<Writer> stalled;
    std::shared_ptr<Writer> ready;
    {
      MutexLock lock(mutex_);
      while (!stopping_) {
        stalled = TakeStalled(std::chrono::steady_clock::now());
        if (stalled) break;
        if (!ready_.empty()) {
          ready = std::move(ready_.front());
          ready_.pop_front();
          break;
        }
        if (in_flight_.empty()) {
          condition_.Wait(mutex_);
        } else {
          condition_.WaitUntil(mutex_, in_flight_.begin()->second.begin + options_.write_timeout);
        }
      }
      if (stopping_) return;
    }
    if (stalled) stalled->OnWriteStalled();
    if (ready) ready->WriteNext();
  }
}

}  // namespace denoise
