#include "net/acceptor.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "absl/strings/match.h"
#include "tests/unit/net/sockets.h"

namespace denoise {
namespace {

Opening HelloOpening(absl::string_view bytes) {
  constexpr absl::string_view kHello = "hello";
  if (absl::StartsWith(bytes, kHello)) return Opening::kComplete;
  return absl::StartsWith(kHello, bytes) ? Opening::kIncomplete : Opening::kWrong;
}

class AcceptorTest : public testing::Test {
 protected:
  void Start(const ConnectionLimits& limits,
             std::chrono::nanoseconds opening_timeout = std::chrono::hours(1)) {
    Acceptor::Options options;
    options.limits = limits;
    options.opening_timeout = opening_timeout;
    options.opening = &HelloOpening;
    options.serve = [this](UniqueFd fd) {
      std::lock_guard<std::mutex> lock(mutex_);
      served_.push_back(std::move(fd));
      changed_.notify_all();
    };
    auto acceptor = Acceptor::Start(*Listener::Open("127.0.0.1:0"), std::move(options));
    ASSERT_TRUE(acceptor.ok()) << acceptor.status();
    acceptor_ = *std::move(acceptor);
  }

  // Waits for a connection to be served, and takes it.
  UniqueFd Next() {
    std::unique_lock<std::mutex> lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(20), [&] { return !served_.empty(); }));
    if (served_.empty()) return UniqueFd();
    UniqueFd next = std::move(served_.front());
    served_.pop_front();
    return next;
  }

  UniqueFd Hello(const char* from = "127.0.0.1") {
    UniqueFd caller = Connect(acceptor_->port(), from);
    Send(caller, "hello");
    return caller;
  }

  uint64_t refused(Refusal reason) const {
    return acceptor_->counts()->refused[static_cast<size_t>(reason)];
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<UniqueFd> served_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(AcceptorTest, HandsOnWhoHasSpoken) {
  Start({});
  const UniqueFd caller = Connect(acceptor_->port());
  Send(caller, "hel");
  Send(caller, "lo, world");
  const UniqueFd served = Next();
  EXPECT_TRUE(fcntl(served.get(), F_GETFL) & O_NONBLOCK);
  char bytes[5];
  EXPECT_EQ(recv(served.get(), bytes, sizeof bytes, 0), 5);
  EXPECT_EQ(std::string(bytes, 5), "hello");
}

TEST_F(AcceptorTest, AnotherProtocolIsClosedAtOnce) {
  Start({});
  const UniqueFd caller = Connect(acceptor_->port());
  Send(caller, "GET /");
  EXPECT_EQ(ReadToEnd(caller), "");
  EXPECT_EQ(refused(Refusal::kWrongProtocol), 1u);
}

TEST_F(AcceptorTest, SilenceIsClosedInTheEnd) {
  Start({}, std::chrono::milliseconds(1));
  const UniqueFd caller = Connect(acceptor_->port());
  Send(caller, "hel");
  EXPECT_EQ(ReadToEnd(caller), "");
  EXPECT_EQ(refused(Refusal::kSilent), 1u);
}

TEST_F(AcceptorTest, WhoHangsUpIsNotRefused) {
  Start({.max_connections = 1, .max_per_address = 1});
  for (const char* said : {"", "hel"}) {
    const UniqueFd caller = Connect(acceptor_->port());
    Send(caller, said);
    shutdown(caller.get(), SHUT_WR);
    EXPECT_EQ(ReadToEnd(caller), "");
  }
  const UniqueFd caller = Hello();
  EXPECT_TRUE(Next().valid());
  for (size_t i = 0; i < kRefusals; ++i) EXPECT_EQ(refused(Refusal(i)), 0u);
}

TEST_F(AcceptorTest, AFloodOfOneAddressLeavesTheOthersRoom) {
  Start({.max_connections = 3, .max_per_address = 2});
  const UniqueFd first = Hello(), second = Hello();
  UniqueFd served = Next();
  const UniqueFd other_served = Next();
  EXPECT_EQ(ReadToEnd(Hello()), "");
  EXPECT_EQ(refused(Refusal::kTooManyOfAddress), 1u);
  const UniqueFd of_another = Hello("127.0.0.2");
  const UniqueFd another_served = Next();
  EXPECT_EQ(ReadToEnd(Hello("127.0.0.3")), "");
  EXPECT_EQ(refused(Refusal::kTooMany), 1u);

  // One goes, which who served it does not tell, and another comes in its place.
  served.Reset();
  for (UniqueFd caller; served_.empty();) {
    caller = Hello("127.0.0.3");
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(1), [&] { return !served_.empty(); });
  }
}

TEST_F(AcceptorTest, TheSilentKeepNobodyOut) {
  Start({.max_connections = 4, .max_per_address = 4});
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 50; ++i) silent.push_back(Connect(acceptor_->port()));
  const UniqueFd caller = Hello();
  EXPECT_TRUE(Next().valid());
  EXPECT_EQ(refused(Refusal::kSilent), 47u);
}

TEST_F(AcceptorTest, CountsWhatIsOpen) {
  Start({.max_connections = 7});
  const auto counts = acceptor_->counts();
  EXPECT_EQ(counts->max, 7u);
  const UniqueFd silent = Connect(acceptor_->port()), caller = Hello();
  UniqueFd served = Next();
  while (counts->open != 2) std::this_thread::yield();
  served.Reset();
  while (counts->open != 1) std::this_thread::yield();  // found out by looking
}

TEST_F(AcceptorTest, RunsOutOfDescriptorsAndGoesOn) {
  Start({});
  const UniqueFd before = Hello();
  const UniqueFd served = Next();
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const UniqueFd caller(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const rlimit few = {256, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  std::vector<UniqueFd> all;
  do {
    all.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
  } while (all.back().valid());
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(acceptor_->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(caller.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(ReadToEnd(caller), "");  // neither left in the kernel
  EXPECT_EQ(refused(Refusal::kNoDescriptor), 1u);

  all.clear();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  const UniqueFd after = Hello();  // nor for the rest
  EXPECT_TRUE(Next().valid());
}

TEST_F(AcceptorTest, EndsAtOnceAndClosesTheSilent) {
  Start({});
  const UniqueFd silent = Connect(acceptor_->port()), caller = Hello();
  const UniqueFd served = Next();
  acceptor_.reset();
  EXPECT_EQ(ReadToEnd(silent), "");
  Send(caller, "more");
  char bytes[9];
  EXPECT_EQ(recv(served.get(), bytes, sizeof bytes, MSG_WAITALL), 9);  // still open
}

TEST(ListenerTest, APortIsNeverShared) {
  for (const char* address : {"127.0.0.1:", "[::1]:", "0.0.0.0:", "[::]:", "localhost:"}) {
    const auto first = Listener::Open(absl::StrCat(address, 0));
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_GT(first->port(), 0);
    const std::string again = absl::StrCat(address, first->port());
    const absl::Status status = Listener::Open(again).status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), again)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "in use")) << status;
  }
}

TEST(ListenerTest, AllAddressesAreThoseOfBothFamilies) {
  for (const char* all : {"0.0.0.0:0", "[::]:0"}) {
    const auto listener = Listener::Open(all);
    ASSERT_TRUE(listener.ok()) << listener.status();
    for (const char* one : {"127.0.0.1:", "[::1]:"}) {
      EXPECT_TRUE(
          absl::IsUnavailable(Listener::Open(absl::StrCat(one, listener->port())).status()));
    }
  }
}

TEST(ListenerTest, RefusesWhatIsNoAddress) {
  for (const char* address : {"", "8500", ":8500", "::1:8500", "[]:1", "127.0.0.1", "127.0.0.1:",
                              "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:65536", "[127.0.0.1]:0"}) {
    const absl::Status status = Listener::Open(address).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << address;
    EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("'", address, "'"))) << status;
  }
  EXPECT_TRUE(absl::IsUnavailable(Listener::Open("192.0.2.1:0").status()));  // of no machine
}

}  // namespace
}  // namespace denoise
