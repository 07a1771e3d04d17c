#include "server/log/queued_sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {

QueuedSink::QueuedSink(int fd, size_t max_bytes)
    : fd_(fd), max_bytes_(max_bytes), thread_([this] { Loop(); }) {}

QueuedSink::~QueuedSink() {
  flush_();
  {
    std::lock_guard<std::mutex> lock(queue_mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void QueuedSink::sink_it_(const spdlog::details::log_msg& line) {
  if (lost_ > 0) {
    const std::string text =
        absl::StrCat(lost_, " lines of the log were lost: what they go to was not read");
    spdlog::details::log_msg of_lost(line.logger_name, spdlog::level::warn, text);
    const size_t lost = std::exchange(lost_, 0);
    Push(of_lost);
    if (lost_ > 0) {  // there is still no room
      lost_ = lost + 1;
      return;
    }
  }
  Push(line);
}

void QueuedSink::Push(const spdlog::details::log_msg& line) {
  spdlog::memory_buf_t text;
  formatter_->format(line, text);
  std::lock_guard<std::mutex> lock(queue_mutex_);
  if (bytes_ + text.size() > max_bytes_) {
    ++lost_;
    return;
  }
  bytes_ += text.size();
  queue_.emplace_back(text.data(), text.size());
  changed_.notify_all();
}

void QueuedSink::flush_() {
  std::unique_lock<std::mutex> lock(queue_mutex_);
  changed_.wait_for(lock, kPatience, [this] { return queue_.empty(); });
}

void QueuedSink::Loop() {
  std::unique_lock<std::mutex> lock(queue_mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const std::string& line = queue_.front();  // stays where it is: only this thread takes it out
    lock.unlock();
    Write(line);
    lock.lock();
    bytes_ -= queue_.front().size();
    queue_.pop_front();
    changed_.notify_all();
  }
}

// The descriptor is shared with other processes, so it is not made non-blocking. A pipe that polls
// as writable takes PIPE_BUF bytes without blocking.
void QueuedSink::Write(const std::string& line) {
  size_t written = 0;
  while (written < line.size()) {
    pollfd writable = {fd_, POLLOUT, 0};
    if (poll(&writable, 1, /*milliseconds=*/100) == 0) {
      std::lock_guard<std::mutex> lock(queue_mutex_);
      if (stopping_) return;
      continue;
    }
    const size_t part = std::min<size_t>(line.size() - written, PIPE_BUF);
    const ssize_t count = write(fd_, line.data() + written, part);
    if (count > 0) {
      written += static_cast<size_t>(count);
    } else if (errno != EINTR && errno != EAGAIN) {
      return;  // closed, or a full disk: the service goes on without this line
    }
  }
}

}  // namespace denoise
