#include "server/memory_watch.h"

#include <chrono>
#include <fstream>
#include <string>
#include <utility>

#include "spdlog/spdlog.h"

namespace denoise {
namespace {

constexpr double kRefuse = 0.85;
constexpr double kAccept = 0.80;
constexpr double kShed = 0.95;
constexpr auto kPeriod = std::chrono::milliseconds(100);

}  // namespace

MemoryWatch::MemoryWatch(Options options)
    : options_(std::move(options)), thread_([this] { Loop(); }) {}

MemoryWatch::~MemoryWatch() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    condition_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

void MemoryWatch::Look() {
  double now = share();
  if (now >= kRefuse) {
    // The allocator keeps free pages for the next call, so that what is held never falls by itself.
    options_.release_free();
    now = share();
  }
  if (const bool full = now >= (full_ ? kAccept : kRefuse); full != full_) {
    full_ = full;
    if (full) {
      spdlog::warn("{:.0f} % of memory is used: new requests are refused", 100 * now);
    } else {
      spdlog::info("{:.0f} % of memory is used: requests are accepted again", 100 * now);
    }
    options_.refuse(full);
  }
  if (now >= kShed) options_.shed();
}

void MemoryWatch::Loop() {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (!stopping_) condition_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kPeriod);
      if (stopping_) return;
    }
    Look();
  }
}

uint64_t HeldMemory() {
  std::ifstream file("/proc/self/status");
  uint64_t bytes = 0;
  for (std::string line; std::getline(file, line);) {
    for (const char* name : {"RssAnon:", "RssShmem:"}) {
      if (line.rfind(name, 0) == 0)
        bytes += std::stoull(line.substr(9)) * 1024;  // "RssAnon:  12 kB"
    }
  }
  return bytes;
}

}  // namespace denoise
