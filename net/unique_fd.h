// A file descriptor that is closed with its owner.
#ifndef DENOISE_NET_UNIQUE_FD_H_
#define DENOISE_NET_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace denoise {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Reset(other.Release());
    return *this;
  }
  ~UniqueFd() { Reset(); }

  // Below 0: none.
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // The caller closes it.
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace denoise

#endif  // DENOISE_NET_UNIQUE_FD_H_
