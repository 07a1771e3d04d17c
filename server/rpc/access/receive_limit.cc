#include "server/rpc/access/receive_limit.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

// Reads that take less were of what was there already.
constexpr auto kSlow = std::chrono::milliseconds(5);
// Between looks: while somebody sends, and while there are only callers who might.
constexpr auto kSoon = std::chrono::milliseconds(5);
constexpr auto kLater = std::chrono::milliseconds(50);
constexpr auto kNew = std::chrono::seconds(1);
// What came on a connection longer ago is counted for none of its reads any more: with it goes what
// was never a message's (headers, pings, messages that were given up).
constexpr auto kRemembered = std::chrono::seconds(60);

uint64_t WithFraming(uint64_t bytes) { return bytes + bytes / 16 + (1 << 20); }

}  // namespace

ReceiveLimit::ReceiveLimit(Options options)
    : options_(std::move(options)), limit_(WithFraming(options_.max_bytes)) {
  if (options_.looks_by_itself) thread_ = std::thread([this] { Loop(); });
}

ReceiveLimit::~ReceiveLimit() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    condition_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

ReceiveLimit::ReadId ReceiveLimit::Begin(std::string peer, CutOff cut_off) {
  const SteadyTime now = options_.clock->Now();
  MutexLock lock(mutex_);
  Peer& of = peers_[peer];
  ++of.reads;
  Read& read = reads_[++last_read_];
  // Of a connection that is not known yet all that it ever sent is counted, which is little.
  if (!of.known) strangers_ = true;
  if (const auto received = of.known ? options_.received(peer) : std::nullopt) {
    read.received = *received;
    read.delivered = of.delivered;
  }
  read.peer = std::move(peer);
  read.cut_off = std::move(cut_off);
  read.begin = read.since = now;
  if (asleep_) condition_.Signal();
  return last_read_;
}

bool ReceiveLimit::End(ReadId read, uint64_t bytes) {
  MutexLock lock(mutex_);
  const auto it = reads_.find(read);
  if (it == reads_.end()) return false;
  Peer& peer = peers_[it->second.peer];
  peer.delivered += bytes;
  --peer.reads;
  reads_.erase(it);
  return true;
}

// Gets to know the connections that are new, and forgets those that are gone.
void ReceiveLimit::MeetPeers(SteadyTime now) {
  std::vector<std::string> peers;
  {
    MutexLock lock(mutex_);
    if (!strangers_ || now - met_ < kLater) return;
    strangers_ = false;
    met_ = now;
    for (const auto& [name, peer] : peers_) peers.push_back(name);
  }
  options_.refresh();
  for (const std::string& name : peers) {
    const bool known = options_.received(name).has_value();
    MutexLock lock(mutex_);
    const auto it = peers_.find(name);
    it->second.known = known;
    if (!known && it->second.reads == 0) peers_.erase(it);
  }
}

std::vector<std::string> ReceiveLimit::SlowPeers(SteadyTime now) {
  std::vector<std::string> peers;
  for (const auto& [id, read] : reads_) {
    if (now - read.begin < kSlow) break;
    if (peers.empty() || peers.back() != read.peer) peers.push_back(read.peer);
  }
  std::sort(peers.begin(), peers.end());
  peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
  return peers;
}

// Of each peer what came since the earliest of its slow reads, less what became messages.
ReceiveLimit::Bytes ReceiveLimit::PendingBytes(const Bytes& received, SteadyTime now) {
  Bytes pending;
  for (auto& [id, read] : reads_) {
    if (now - read.begin < kSlow) break;
    const auto of_peer = received.find(read.peer);
    if (of_peer == received.end()) continue;
    const uint64_t delivered = peers_[read.peer].delivered;
    if (now - read.since >= kRemembered) {
      read.since = now;
      read.received = of_peer->second;
      read.delivered = delivered;
    }
    const uint64_t came = of_peer->second - std::min(of_peer->second, read.received);
    const uint64_t over = delivered - read.delivered;
    uint64_t& bytes = pending[read.peer];
    bytes = std::max(bytes, came - std::min(came, over));
  }
  return pending;
}

void ReceiveLimit::Take(const std::string& peer, SteadyTime now, std::vector<CutOff>* taken) {
  for (auto it = reads_.begin(); it != reads_.end();) {
    if (now - it->second.begin < kSlow) break;
    if (it->second.peer != peer) {
      ++it;
      continue;
    }
    taken->push_back(std::move(it->second.cut_off));
    --peers_[peer].reads;
    it = reads_.erase(it);
  }
}

void ReceiveLimit::Look() {
  const SteadyTime now = options_.clock->Now();
  MeetPeers(now);
  std::vector<std::string> peers;
  {
    MutexLock lock(mutex_);
    peers = SlowPeers(now);
  }
  Bytes received;
  for (const std::string& peer : peers) {
    if (const auto bytes = options_.received(peer)) received[peer] = *bytes;
  }
  const uint64_t held = options_.held ? options_.held() : 0;

  std::vector<CutOff> taken;
  uint64_t total = held;
  {
    MutexLock lock(mutex_);
    Bytes pending = PendingBytes(received, now);
    for (const auto& [peer, bytes] : pending) total += bytes;
    busy_ = total > limit_ / 8 || (!reads_.empty() && now - reads_.rbegin()->second.begin < kNew);
    for (uint64_t left = total; left > limit_ && !pending.empty();) {
      const auto most =
          std::max_element(pending.begin(), pending.end(),
                           [](const auto& a, const auto& b) { return a.second < b.second; });
      Take(most->first, now, &taken);
      left -= most->second;
      pending.erase(most);
    }
  }
  if (taken.empty()) return;
  const absl::Status why =
      WithReason(absl::ResourceExhaustedError(
                     absl::StrCat("message: those that are being received are ", total,
                                  " bytes by now, more than the ", options_.max_bytes,
                                  " that may be at once (--max-receive-bytes), and this connection "
                                  "has the most: retry later, or send less at once")),
                 kMemoryFull);
  for (const CutOff& cut_off : taken) cut_off(why);
}

void ReceiveLimit::Loop() {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (reads_.empty() && !stopping_) {
        asleep_ = busy_ = true;  // soon after whoever wakes it
        condition_.Wait(mutex_);
      }
      asleep_ = false;
      if (!stopping_) {
        condition_.WaitUntil(mutex_, std::chrono::steady_clock::now() + (busy_ ? kSoon : kLater));
      }
      if (stopping_) return;
    }
    Look();
  }
}

}  // namespace denoise
