#include "net/acceptor.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// What an event of epoll is about: the id of a silent connection, or one of these.
constexpr uint64_t kStop = 0;
constexpr uint64_t kListening = uint64_t{1} << 63;  // and the number of the socket

constexpr int kAcceptedAtOnce = 64;
constexpr std::chrono::seconds kSweepEvery{1};

UniqueFd OpenSpare() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

bool Watch(const UniqueFd& epoll, int fd, uint32_t events, uint64_t about) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = about;
  return epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

// Not fstat(): it is to be asked of numbers whose files others may be closing, which
// ThreadSanitizer would take for a race.
std::optional<std::pair<dev_t, ino_t>> IdentityOf(int fd) {
  struct stat file;
  if (fstatat(fd, "", &file, AT_EMPTY_PATH) != 0) return std::nullopt;
  return std::pair(file.st_dev, file.st_ino);
}

// What this thread has had of a CPU.
std::chrono::nanoseconds ThreadTime() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

std::string TextOf(const sockaddr_storage& address) {
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), sizeof address, host, sizeof host,
                  port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "an unknown address";
  }
  return address.ss_family == AF_INET6 ? absl::StrCat("[", host, "]:", port)
                                       : absl::StrCat(host, ":", port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Start(Listener listener, Options options) {
  std::unique_ptr<Acceptor> acceptor(new Acceptor(std::move(listener), std::move(options)));
  bool watching =
      acceptor->spare_.valid() && Watch(acceptor->epoll_, acceptor->stop_.get(), EPOLLIN, kStop);
  const std::vector<UniqueFd>& sockets = acceptor->listener_.sockets();
  for (size_t i = 0; i < sockets.size(); ++i) {
    watching = watching && Watch(acceptor->epoll_, sockets[i].get(), EPOLLIN, kListening | i);
  }
  if (!watching) return absl::InternalError("no descriptors are left to accept connections with");
  acceptor->thread_ = std::thread([made = acceptor.get()] { made->Run(); });
  return acceptor;
}

Acceptor::Acceptor(Listener listener, Options options)
    : listener_(std::move(listener)),
      options_(std::move(options)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC)),
      spare_(OpenSpare()),
      table_(options_.limits),
      peeked_(kMaxOpeningBytes) {
  counts_->max = options_.limits.max_connections;
}

Acceptor::~Acceptor() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void Acceptor::Run() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 WaitMilliseconds(std::chrono::steady_clock::now()));
    for (int i = 0; i < count; ++i) {
      const uint64_t about = events[i].data.u64;
      if (about == kStop) return;
      if (about & kListening) {
        Accept(listener_.sockets()[about & ~kListening].get());
      } else {
        Look(about, events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
      }
    }
    const Time now = std::chrono::steady_clock::now();
    CloseOverdue(now);
    if (!served_.empty() && now - swept_ >= kSweepEvery) Sweep(now);
    counts_->open = table_.size();
  }
}

int Acceptor::WaitMilliseconds(Time now) const {
  std::optional<Time> next;
  if (!served_.empty()) next = swept_ + kSweepEvery;
  if (const auto oldest = table_.OldestSilent()) {
    const Time due = oldest->second + options_.opening_timeout;
    next = next ? std::min(*next, due) : due;
  }
  if (!next) return -1;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(*next - now);
  return static_cast<int>(std::max<int64_t>(0, wait.count()));
}

void Acceptor::Accept(int listening) {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    sockaddr_storage peer = {};
    socklen_t size = sizeof peer;
    UniqueFd fd(accept4(listening, reinterpret_cast<sockaddr*>(&peer), &size,
                        SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.valid()) {
      Admit(std::move(fd), peer);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      return MakeRoomForDescriptors(listening);
    } else if (errno == EAGAIN) {
      return;
    }  // else that connection has failed already
  }
}

// A caller that cannot be accepted would wait in the kernel, and the thread would run in circles.
void Acceptor::MakeRoomForDescriptors(int listening) {
  if (const auto oldest = table_.OldestSilent())
    return Refuse(oldest->first, Refusal::kNoDescriptor);
  spare_.Reset();
  sockaddr_storage peer = {};
  socklen_t size = sizeof peer;
  if (UniqueFd(accept4(listening, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC))
          .valid()) {
    Count(Refusal::kNoDescriptor, TextOf(peer));
  } else {
    poll(nullptr, 0, /*milliseconds=*/10);  // others have taken that descriptor too
  }
  spare_ = OpenSpare();
}

void Acceptor::Admit(UniqueFd fd, const sockaddr_storage& peer) {
  const Time now = std::chrono::steady_clock::now();
  const std::string address = AddressKey(peer);
  // Before anybody has to go: many of those that are served may have ended since the last sweep.
  if (!table_.HasRoom(address) && now >= next_sweep_) Sweep(now);
  const ConnectionTable::Admission admission = table_.Admit(address, now);
  if (admission.evicted) {
    Count(Refusal::kSilent, silent_.at(*admission.evicted).peer);
    silent_.erase(*admission.evicted);
  }
  if (!admission.id) return Count(*admission.reason, TextOf(peer));
  const Id id = *admission.id;
  const int number = fd.get();
  silent_.emplace(id, Silent{std::move(fd), TextOf(peer)});
  // Mostly the opening is there already.
  Look(id, /*ended=*/false);
  if (silent_.count(id) > 0 && !Watch(epoll_, number, EPOLLIN | EPOLLRDHUP | EPOLLET, id))
    Forget(id);
}

void Acceptor::Look(Id id, bool ended) {
  const auto found = silent_.find(id);
  if (found == silent_.end()) return;  // an event from before it went
  const int fd = found->second.fd.get();
  const ssize_t size = recv(fd, peeked_.data(), peeked_.size(), MSG_PEEK);
  if (size == 0 || (size < 0 && errno != EAGAIN)) return Forget(id);
  switch (options_.opening({peeked_.data(), static_cast<size_t>(std::max<ssize_t>(0, size))})) {
    case Opening::kWrong:
      return Refuse(id, Refusal::kWrongProtocol);
    case Opening::kIncomplete:
      if (ended) Forget(id);
      return;
    case Opening::kComplete:
      break;
  }
  const auto identity = IdentityOf(fd);
  if (!identity) return Forget(id);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);  // where it was watched
  served_.emplace(id, Socket{fd, identity->first, identity->second});
  table_.Serve(id);
  UniqueFd connection = std::move(found->second.fd);
  silent_.erase(found);
  options_.serve(std::move(connection));
}

void Acceptor::Refuse(Id id, Refusal reason) {
  Count(reason, silent_.at(id).peer);
  Forget(id);
}

void Acceptor::Forget(Id id) {
  table_.Remove(id);
  silent_.erase(id);
}

void Acceptor::CloseOverdue(Time now) {
  for (auto oldest = table_.OldestSilent();
       oldest && oldest->second + options_.opening_timeout <= now; oldest = table_.OldestSilent()) {
    Refuse(oldest->first, Refusal::kSilent);
  }
}

void Acceptor::Sweep(Time now) {
  const auto begin = ThreadTime();
  std::erase_if(served_, [this](const auto& entry) {
    const auto& [id, socket] = entry;
    if (IdentityOf(socket.fd) == std::pair(socket.device, socket.inode)) return false;
    table_.Remove(id);
    return true;
  });
  swept_ = now;
  // Those who are refused may have the thread look again at once, but not spend its time on it.
  next_sweep_ = now + 10 * (ThreadTime() - begin);
}

void Acceptor::Count(Refusal reason, const std::string& peer) {
  ++counts_->refused[static_cast<size_t>(reason)];
  if (options_.refused) options_.refused(reason, peer);
}

}  // namespace denoise
