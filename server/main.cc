// denoised: the daemon that denoises.
#include <signal.h>
#include <sysexits.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <variant>

#include "server/examine.h"
#include "server/flags.h"
#include "server/hash_token.h"
#include "server/log/log.h"
#include "server/model/runtime/torch_runtime.h"
#include "server/probe.h"
#include "server/server.h"
#include "spdlog/spdlog.h"

namespace {

// Waits for one of `signals`; false when `timeout` has passed first.
bool WaitForSignal(const sigset_t& signals, std::chrono::milliseconds timeout) {
  const timespec time = {timeout.count() / 1000, timeout.count() % 1000 * 1'000'000};
  return sigtimedwait(&signals, nullptr, &time) > 0;
}

// Lets running calls end, for `grace` at most; another signal ends the waiting.
void Drain(denoise::Server& server, const sigset_t& signals, double grace_seconds) {
  server.StopAdmitting();
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(grace_seconds);
  while (server.calls_in_flight() > 0 && std::chrono::steady_clock::now() < end) {
    if (WaitForSignal(signals, std::chrono::milliseconds(20))) {
      spdlog::warn("a second signal: not waiting any longer");
      return;
    }
  }
}

// Says on stderr what was wrong: in the log where that is read by machines, and always somewhere.
int ExitStatus(const absl::Status& status, denoise::LogFormat format) {
  if (status.ok()) return EX_OK;
  if (format == denoise::LogFormat::kJson && spdlog::should_log(spdlog::level::critical)) {
    denoise::LogEvent(spdlog::level::critical, status.message(), {});
  } else {
    std::cerr << "denoised: " << status.message() << std::endl;
  }
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? EX_DATAERR : EX_UNAVAILABLE;
}

}  // namespace

int main(int argc, char** argv) {
  denoise::PrepareProcess();

  const auto parsed = denoise::ParseFlags(argc, argv);
  if (const int* status = std::get_if<int>(&parsed)) return *status;
  const auto& flags = std::get<denoise::Flags>(parsed);
  if (flags.hash_token) return denoise::HashToken();
  if (flags.probe) return denoise::Probe(flags.listen, flags.tls);

  signal(SIGPIPE, SIG_IGN);
  // Signals are waited for, not handled; blocked before any thread is made, so that every thread
  // inherits it.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (flags.examine.empty()) pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  // Stdout is for the ready line alone, or for the report of --examine.
  denoise::StartLog(flags.log_format, spdlog::level::from_str(flags.log_level));

  if (!flags.examine.empty()) {
    return ExitStatus(denoise::ExamineModel(flags, std::cout), flags.log_format);
  }

  auto server = denoise::Server::Start(flags);
  if (!server.ok()) {
    return ExitStatus(server.status(), flags.log_format);
  }
  spdlog::default_logger()->flush();  // what is read there after the ready line
  std::cout << (*server)->ready_line() << std::endl;

  while (!WaitForSignal(signals, std::chrono::hours(1))) {
  }
  spdlog::info("draining, for {} s at most", flags.drain_grace_seconds);
  Drain(**server, signals, flags.drain_grace_seconds);
  (*server)->Stop();
  spdlog::info("stopped");
  return EX_OK;
}
