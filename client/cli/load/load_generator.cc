#include "client/cli/load/load_generator.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "denoise/error_details.h"

namespace denoise::cli {
namespace {

// How long a client of the closed loop waits after an error that names no time, so that errors that
// come at once do not make it spin.
constexpr absl::Duration kBackoff = absl::Milliseconds(100);

// Whether the next request would fail in the same way.
bool IsFinal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return true;
    default:
      return false;
  }
}

}  // namespace

// Written by the callbacks, one at a time, and read when they have ended.
struct LoadGenerator::Call {
  LoadSample sample;

  void Note(const Event& event, absl::Duration now) {
    if (std::holds_alternative<State>(event)) {
      if (!sample.first_state) sample.first_state = now;
    } else if (const auto* result = std::get_if<Result>(&event)) {
      sample.queue = result->timing.queue;
      sample.rows = result->denoiser_rows;
      sample.states_dropped = result->states_dropped;
    }
  }
};

LoadGenerator::LoadGenerator(Client client, LoadPlan plan, Workload workload,
                             std::shared_ptr<TaskLoop> loop)
    : client_(std::move(client)),
      plan_(std::move(plan)),
      workload_(std::move(workload)),
      loop_(std::move(loop)),
      begin_(loop_->Now()),
      stats_(begin_ + plan_.warm_up, begin_ + plan_.warm_up + plan_.duration) {}

absl::Status LoadGenerator::Run() {
  loop_->At(stats_.from(), [this] {
    window_begun_ = true;
    cpu_at_begin_ = plan_.cpu_time();
  });
  loop_->At(stats_.to(), [this] { EndWindow(); });
  if (plan_.rate > 0) {
    const absl::Duration first = begin_ + workload_.NextGap(plan_.rate);
    loop_->At(first, [this, first] { Arrive(first); });
  } else {
    for (uint32_t i = 0; i < plan_.clients; ++i) Send(begin_);
  }
  loop_->Run();
  return failure_;
}

void LoadGenerator::Stop() {
  loop_->Soon([this] { Halt(); });
}

void LoadGenerator::Arrive(absl::Duration scheduled) {
  // However late this task runs, what was due within the window is sent.
  if (halted_ || scheduled >= stats_.to()) return;
  Send(scheduled);
  const absl::Duration next = scheduled + workload_.NextGap(plan_.rate);
  loop_->At(next, [this, next] { Arrive(next); });
}

void LoadGenerator::Send(absl::Duration scheduled) {
  auto [request, slow] = workload_.Next();
  const auto call = std::make_shared<Call>();
  call->sample.steps = request.sampler.steps;
  call->sample.scheduled = scheduled;
  call->sample.sent = loop_->Now();
  CallOptions options = plan_.call;
  ++sent_;
  if (!options.request_id.empty()) absl::StrAppend(&options.request_id, "-", sent_);
  running_.emplace(call.get(), client_.SampleAsync(request, Callbacks(call, slow), options));
}

SampleCallbacks LoadGenerator::Callbacks(const std::shared_ptr<Call>& call, bool slow) {
  SampleCallbacks callbacks;
  if (slow) {
    callbacks.on_event_paced = [call, loop = loop_, pause = plan_.slow_pause](
                                   const Event& event, std::function<void()> next) {
      const absl::Duration now = loop->Now();
      call->Note(event, now);
      loop->At(now + pause, std::move(next));
    };
  } else {
    callbacks.on_event = [call, loop = loop_](const Event& event) {
      call->Note(event, loop->Now());
    };
  }
  callbacks.on_done = [this, call, loop = loop_](absl::Status status) {
    call->sample.ended = loop->Now();
    call->sample.status = std::move(status);
    loop->Soon([this, call] { Ended(call); });
  };
  return callbacks;
}

void LoadGenerator::Ended(const std::shared_ptr<Call>& call) {
  running_.erase(call.get());
  const LoadSample& sample = call->sample;
  const absl::Status& status = sample.status;
  // What was cancelled by Halt() is no error of the server's.
  if (status.ok() || !halted_) stats_.Add(sample);
  if (!status.ok() && !halted_ && IsFinal(status)) {
    failure_ = status;
    Halt();
  }
  if (plan_.rate == 0 && !window_over_ && !halted_) {
    absl::Duration next = sample.ended;
    if (!status.ok()) next += DetailsOf(status).retry_delay.value_or(kBackoff);
    loop_->At(next, [this, next] {
      if (!window_over_ && !halted_) Send(next);
    });
  }
  QuitIfDone();
}

void LoadGenerator::EndWindow() {
  if (window_over_) return;
  window_over_ = true;
  if (window_begun_) stats_.cpu = plan_.cpu_time() - cpu_at_begin_;
  QuitIfDone();
}

void LoadGenerator::Halt() {
  if (halted_) return;
  halted_ = true;
  if (!window_over_) stats_.EndAt(loop_->Now());
  EndWindow();
  for (const auto& [call, handle] : running_) handle.Cancel();
}

void LoadGenerator::QuitIfDone() {
  if (window_over_ && running_.empty()) loop_->Quit();
}

}  // namespace denoise::cli
