#include "client/viewer/run_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/viewer/event_json.h"

namespace denoise::viewer {
namespace {

// Enough for a tick's states of a large grid.
constexpr size_t kEventsAhead = 256;

}  // namespace

RunStream::RunStream(Client client, RunRequest request)
    : client_(std::move(client)), request_(std::move(request)), thread_([this] { Read(); }) {}

RunStream::~RunStream() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
    if (cancel_ != nullptr) cancel_();
  }
  changed_.notify_all();
  thread_.join();
}

RunStream::Took RunStream::Take(absl::Duration patience, std::string* text) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, absl::ToChronoMilliseconds(patience),
                    [this] { return done_ || !events_.empty(); });
  if (events_.empty()) return done_ ? Took::kEnd : Took::kNothingYet;
  for (const auto& event : events_) absl::StrAppend(text, "data: ", event, "\n\n");
  events_.clear();
  changed_.notify_all();
  return Took::kEvents;
}

void RunStream::Push(std::string event) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return cancelled_ || events_.size() < kEventsAhead; });
  events_.push_back(std::move(event));
  changed_.notify_all();
}

template <typename S>
void RunStream::Follow(S stream) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (cancelled_) return;
    cancel_ = [&stream] { stream.Cancel(); };
  }
  for (auto& event : stream) {
    Push(Dump(event.ok() ? std::visit([](const auto& e) { return ToJson(e); }, *event)
                         : ErrorToJson(event.status())));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  cancel_ = nullptr;
}

void RunStream::Read() {
  if (const auto* sample = std::get_if<SampleRequest>(&request_)) {
    Follow(client_.Sample(*sample));
  } else if (const auto* diffuse = std::get_if<DiffuseRequest>(&request_)) {
    Follow(client_.Diffuse(*diffuse));
  } else {
    Follow(client_.Evaluate(std::get<EvaluateRequest>(request_)));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  done_ = true;
  changed_.notify_all();
}

}  // namespace denoise::viewer
