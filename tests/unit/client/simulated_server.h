// A server in simulated time: nothing waits, and all is the same each time.
#ifndef DENOISE_TESTS_UNIT_CLIENT_SIMULATED_SERVER_H_
#define DENOISE_TESTS_UNIT_CLIENT_SIMULATED_SERVER_H_

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "client/cli/task_loop.h"
#include "denoise/client.h"
#include "denoise/testing.h"
#include "gtest/gtest.h"

namespace denoise::cli {

// Goes from task to task.
class FakeLoop : public TaskLoop {
 public:
  absl::Duration Now() const override { return now_; }
  void At(absl::Duration when, Task task) override { tasks_.emplace(when, std::move(task)); }
  void Quit() override { quit_ = true; }
  // Time that passes within a task.
  void AdvanceTo(absl::Duration now) { now_ = std::max(now_, now); }
  void Run() override {
    while (!quit_) {
      ASSERT_FALSE(tasks_.empty()) << "would sleep for ever";
      const auto first = tasks_.begin();
      ASSERT_LT(first->first, absl::InfiniteDuration()) << "would sleep for ever";
      now_ = std::max(now_, first->first);
      const Task task = std::move(first->second);
      tasks_.erase(first);
      task();
    }
  }

 private:
  absl::Duration now_ = absl::Seconds(1000);
  std::multimap<absl::Duration, Task> tasks_;
  bool quit_ = false;
};

// Serves one request after the other, each in `service_time` with a State half-way.
class SimulatedServer : public testing::FakeConnection {
 public:
  explicit SimulatedServer(std::shared_ptr<TaskLoop> loop) : loop_(std::move(loop)) {}

  std::function<absl::Duration(const SampleRequest&)> service_time = [](const SampleRequest&) {
    return absl::Milliseconds(10);
  };
  // What a request ends with at once; OK: it is served.
  std::function<absl::Status(const SampleRequest&)> refuse = [](const SampleRequest&) {
    return absl::OkStatus();
  };
  std::vector<SampleRequest> requests;
  std::vector<CallOptions> options;
  std::vector<absl::Duration> arrivals;
  int cancelled = 0;

  AsyncCall SampleAsync(const SampleRequest& request, SampleCallbacks callbacks,
                        const CallOptions& call_options) override {
    requests.push_back(request);
    options.push_back(call_options);
    arrivals.push_back(loop_->Now());
    auto running = std::make_shared<Running>();
    running->server = this;
    running->callbacks = std::move(callbacks);
    running->end = refuse(request);
    if (running->end.ok()) {
      const absl::Duration begin = std::max(free_at_, loop_->Now());
      const absl::Duration time = service_time(request);
      free_at_ = begin + time;
      Result result;
      result.timing.queue = begin - loop_->Now();
      result.denoiser_rows = request.sampler.steps;
      result.states_dropped = 1;
      running->events = {
          {loop_->Now(), Accepted()}, {begin + time / 2, State()}, {free_at_, std::move(result)}};
    }
    running->Next();
    return AsyncCall(running);
  }

 private:
  struct Running : AsyncCallControl, std::enable_shared_from_this<Running> {
    SimulatedServer* server = nullptr;
    SampleCallbacks callbacks;
    std::deque<std::pair<absl::Duration, Event>> events;
    absl::Status end;

    void Next() {
      if (callbacks.on_done == nullptr) return;
      if (events.empty()) return server->loop_->Soon([self = shared_from_this()] { self->Done(); });
      server->loop_->At(events.front().first, [self = shared_from_this()] { self->Deliver(); });
    }
    void Deliver() {
      if (events.empty()) return;  // cancelled
      Event event = std::move(events.front().second);
      events.pop_front();
      if (callbacks.on_event_paced) {
        callbacks.on_event_paced(std::move(event), [self = shared_from_this()] { self->Next(); });
      } else {
        callbacks.on_event(std::move(event));
        Next();
      }
    }
    void Cancel() override {
      events.clear();
      end = absl::CancelledError("CANCELLED");
      ++server->cancelled;
      server->loop_->Soon([self = shared_from_this()] { self->Done(); });
    }
    void Done() {
      if (const auto done = std::exchange(callbacks.on_done, nullptr)) done(end);
    }
  };

  const std::shared_ptr<TaskLoop> loop_;
  absl::Duration free_at_;
};

}  // namespace denoise::cli

#endif  // DENOISE_TESTS_UNIT_CLIENT_SIMULATED_SERVER_H_
