// Lines on their way to a file descriptor that may not take them.
#ifndef DENOISE_SERVER_LOG_QUEUED_SINK_H_
#define DENOISE_SERVER_LOG_QUEUED_SINK_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "spdlog/sinks/base_sink.h"

namespace denoise {

// Whoever logs only puts a line on a queue; a thread writes it. So a pipe that nobody reads, or a
// terminal that is stopped, holds up no thread of the server. What the queue has no room for is
// lost, and the next line that it has room for says how many. Thread-safe.
class QueuedSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  // `fd` outlives the sink. `max_bytes`: of lines that wait.
  explicit QueuedSink(int fd, size_t max_bytes = 1 << 20);
  // Writes what waits, where that takes no longer than a second.
  ~QueuedSink() override;

 protected:
  void sink_it_(const spdlog::details::log_msg& line) override;
  void flush_() override;  // likewise

 private:
  static constexpr auto kPatience = std::chrono::seconds(1);

  void Push(const spdlog::details::log_msg& line);
  void Loop();
  // Returns once all of it is written or cannot be, or the thread is to stop.
  void Write(const std::string& line);

  const int fd_;
  const size_t max_bytes_;
  size_t lost_ = 0;  // lines, under the lock of base_sink

  // std::mutex and not absl::Mutex: ThreadSanitizer does not see through distributions' Abseil.
  std::mutex queue_mutex_;
  std::condition_variable changed_;
  std::deque<std::string> queue_;  // the first is being written
  size_t bytes_ = 0;               // of queue_
  bool stopping_ = false;          // now, whatever waits
  std::thread thread_;             // last
};

}  // namespace denoise

#endif  // DENOISE_SERVER_LOG_QUEUED_SINK_H_
