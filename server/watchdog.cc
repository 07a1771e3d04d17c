#include "server/watchdog.h"

#include <algorithm>
#include <utility>

#include "spdlog/spdlog.h"

namespace denoise {

Watchdog::Watchdog(Options options) : options_(std::move(options)), thread_([this] { Loop(); }) {}

Watchdog::~Watchdog() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    condition_.Signal();
  }
  if (thread_.joinable()) thread_.join();
}

void Watchdog::Look() {
  const SteadyTime now = options_.clock->Now();
  std::chrono::nanoseconds longest{0};
  const Engine* of_longest = nullptr;
  for (const Engine& engine : options_.engines) {
    const std::optional<SteadyTime> since = engine.busy_since();
    if (!since.has_value() || now - *since <= longest) continue;
    longest = now - *since;
    of_longest = &engine;
  }
  const double seconds = std::chrono::duration<double>(longest).count();
  if (const bool hangs = longest > options_.limit; hangs != hangs_) {
    hangs_ = hangs;
    if (hangs) {
      spdlog::error("the engine on {} has not come back for {:.1f} s: a denoiser's call hangs",
                    of_longest->device, seconds);
    } else {
      spdlog::warn("the engines have come back");
    }
    options_.on_change(hangs);
  }
  if (longest > 2 * options_.limit && !ended_) {
    ended_ = true;
    spdlog::critical("the engine on {} has not come back for {:.1f} s, twice --watchdog: ending",
                     of_longest->device, seconds);
    options_.on_end();
  }
}

void Watchdog::Loop() {
  const auto period =
      std::max<std::chrono::nanoseconds>(options_.limit / 8, std::chrono::milliseconds(10));
  while (true) {
    {
      MutexLock lock(mutex_);
      if (!stopping_) condition_.WaitUntil(mutex_, std::chrono::steady_clock::now() + period);
      if (stopping_) return;
    }
    Look();
  }
}

}  // namespace denoise
