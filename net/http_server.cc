#include "net/http_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace denoise {
namespace {

using Time = std::chrono::steady_clock::time_point;

// Whether `fd` is ready for `event` by then.
bool WaitFor(int fd, short event, Time until) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd waiting = {fd, event, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

// What one request is read from and answered to.
class ConnectionStream final : public httplib::Stream {
 public:
  ConnectionStream(int fd, Time read_until, std::chrono::nanoseconds write_timeout)
      : fd_(fd), read_until_(read_until), write_timeout_(write_timeout) {}

  bool is_readable() const override { return begin_ < end_ || WaitFor(fd_, POLLIN, read_until_); }
  bool is_writable() const override { return !broken_; }

  // Lines are asked for byte by byte.
  ssize_t read(char* to, size_t size) override {
    if (begin_ == end_) {
      if (!WaitFor(fd_, POLLIN, read_until_)) return -1;
      const ssize_t got = recv(fd_, buffer_.data(), buffer_.size(), 0);
      if (got <= 0) return got;
      begin_ = 0;
      end_ = static_cast<size_t>(got);
    }
    const size_t take = std::min(size, end_ - begin_);
    std::memcpy(to, &buffer_[begin_], take);
    begin_ += take;
    return static_cast<ssize_t>(take);
  }

  ssize_t write(const char* from, size_t size) override {
    const Time until = std::chrono::steady_clock::now() + write_timeout_;
    for (size_t sent = 0; sent < size;) {
      const ssize_t now = send(fd_, from + sent, size - sent, MSG_NOSIGNAL);
      if (now > 0) {
        sent += static_cast<size_t>(now);
      } else if (now < 0 && errno != EAGAIN && errno != EINTR) {
        broken_ = true;
      } else if (!WaitFor(fd_, POLLOUT, until)) {
        broken_ = true;
      }
      if (broken_) return -1;
    }
    return static_cast<ssize_t>(size);
  }

  // Of no interest to anybody here.
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return fd_; }

 private:
  const int fd_;
  const Time read_until_;
  const std::chrono::nanoseconds write_timeout_;
  std::array<char, 4096> buffer_;
  size_t begin_ = 0, end_ = 0;
  bool broken_ = false;
};

// A connection that is closed while there is something to be read is reset, and then the caller may
// not see the answer. So what has come of a body that was refused is read; who sends more of it is
// not waited for.
void Drain(int fd) {
  std::array<char, 16384> nothing;
  for (int i = 0; i < 64 && recv(fd, nothing.data(), nothing.size(), 0) > 0; ++i) {
  }
}

}  // namespace

HttpServer::~HttpServer() { Stop(); }

absl::Status HttpServer::Bind(const std::string& address) {
  auto listener = Listener::Open(address);
  if (!listener.ok()) return listener.status();
  listener_ = *std::move(listener);
  port_ = listener_.port();
  // By this the base class tells whether it is to go on with an answer that comes in parts.
  svr_sock_ = listener_.sockets().front().get();
  return absl::OkStatus();
}

absl::Status HttpServer::Start() {
  Acceptor::Options options;
  options.limits = options_.limits;
  options.opening_timeout = options_.read_timeout;
  options.opening = &Http1Opening;
  options.serve = [this](UniqueFd connection) { Serve(std::move(connection)); };
  auto acceptor = Acceptor::Start(std::move(listener_), std::move(options));
  if (!acceptor.ok()) return acceptor.status();
  acceptor_ = *std::move(acceptor);
  counts_ = acceptor_->counts();
  return absl::OkStatus();
}

void HttpServer::Stop() {
  acceptor_.reset();
  svr_sock_ = INVALID_SOCKET;
  std::unique_lock<std::mutex> lock(mutex_);
  for (const auto& [fd, thread] : answering_) shutdown(fd, SHUT_RDWR);
  none_left_.wait(lock, [this] { return answering_.empty(); });
  for (std::thread& thread : ended_) thread.join();
  ended_.clear();
}

void HttpServer::Serve(UniqueFd connection) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (std::thread& thread : ended_) thread.join();
  ended_.clear();
  const int fd = connection.get();
  try {
    answering_[fd] = std::thread([this, fd] {
      Answer(fd);
      std::lock_guard<std::mutex> locked(mutex_);
      const auto self = answering_.find(fd);
      ended_.push_back(std::move(self->second));
      answering_.erase(self);
      close(fd);  // while nobody can take its number for another's
      none_left_.notify_all();
    });
    (void)connection.Release();
  } catch (const std::system_error&) {  // there are too many threads on this machine
    answering_.erase(fd);
  }
}

void HttpServer::Answer(int connection) {
  ConnectionStream stream(connection, std::chrono::steady_clock::now() + options_.read_timeout,
                          options_.write_timeout);
  bool closed = false;
  process_request(stream, /*close_connection=*/true, closed, nullptr);
  Drain(connection);
}

}  // namespace denoise
