#include "server/rpc/stream_reactor.h"

#include <optional>
#include <utility>
#include <variant>

#include "server/engine/wait_estimate.h"
#include "server/rpc/admission.h"
#include "server/rpc/call_metadata.h"
#include "server/rpc/messages/duration.h"
#include "server/rpc/status.h"

namespace denoise {

template <typename Event>
grpc::ServerWriteReactor<Event>* StreamReactor<Event>::Start(const Backend* backend,
                                                             grpc::CallbackServerContext* context,
                                                             CallRecord record,
                                                             absl::StatusOr<Validated> validated,
                                                             std::function<void()> on_done) {
  auto reactor =
      std::make_shared<StreamReactor>(backend, context, std::move(record), std::move(on_done));
  reactor->self_ = reactor;
  if (absl::Status status = reactor->Admit(std::move(validated)); !status.ok()) {
    RecordRejection(status, backend->metrics);
    reactor->End(std::move(status), /*with_message=*/false);
  }
  return reactor.get();
}

template <typename Event>
StreamReactor<Event>::StreamReactor(const Backend* backend, grpc::CallbackServerContext* context,
                                    CallRecord record, std::function<void()> on_done)
    : backend_(backend),
      on_done_(std::move(on_done)),
      record_(std::move(record)),
      context_(context) {}

// Queues the request and starts the write of Accepted. The turn is kWriting from the beginning, so
// that events which come at once wait until Accepted is out.
template <typename Event>
absl::Status StreamReactor<Event>::Admit(absl::StatusOr<Validated> validated) {
  if (!validated.ok()) return validated.status();
  auto request = std::make_shared<Request>(std::move(validated->request));
  const ModelInfo& model = *request->model;
  encodings_ = validated->encodings;
  record_.num_samples = request->num_samples;
  record_.steps = request->table->total_steps;
  request->id = record_.id;
  request->arrival = record_.arrival;
  {
    MutexLock lock(context_mutex_);
    request->deadline = DeadlineOf(*context_, backend_->clock->Now());
  }

  // Filled before the request is queued: engines may be quick.
  EncodeAccepted(*request, &message_);
  v1::Accepted* accepted = message_.mutable_accepted();
  // Weak, because the reactor holds the request and the request its stream.
  const absl::StatusOr<WaitingQueue::Place> place =
      denoise::Admit(*backend_, request, kSampling ? Reading::kLosesStates : Reading::kHoldsChains,
                     [weak = this->weak_from_this()] {
                       if (const auto self = weak.lock()) self->OnEvents();
                     });
  if (!place.ok()) return place.status();
  request_ = std::move(request);
  accepted->set_queue_position(place->requests_before);
  const uint64_t rows_before = place->rows_before + backend_->rows_ahead();
  SetDuration(absl::ToDoubleSeconds(TimeFor(model, rows_before)),
              accepted->mutable_estimated_wait());
  {
    MutexLock lock(mutex_);
    write_ = backend_->writers->WriteBegun(this->shared_from_this());
  }
  this->StartWrite(&message_);
  return absl::OkStatus();
}

template <typename Event>
void StreamReactor<Event>::OnEvents() {
  {
    MutexLock lock(mutex_);
    if (turn_ == Turn::kTaking) turn_ = Turn::kTakingAgain;
    if (turn_ != Turn::kIdle) return;
    turn_ = Turn::kReady;
  }
  backend_->writers->Schedule(this->shared_from_this());
}

template <typename Event>
void StreamReactor<Event>::WriteNext() {
  {
    MutexLock lock(mutex_);
    turn_ = Turn::kTaking;
  }
  const std::optional<StreamEvent> event = request_->stream->Take();
  if (event.has_value()) {
    Write(*event);
    return;
  }
  {
    MutexLock lock(mutex_);
    if (turn_ == Turn::kTaking) {
      turn_ = Turn::kIdle;
      return;
    }
    turn_ = Turn::kReady;
  }
  backend_->writers->Schedule(this->shared_from_this());
}

template <typename Event>
void StreamReactor<Event>::Write(const StreamEvent& event) {
  if (const auto* status = std::get_if<absl::Status>(&event)) {
    End(*status, /*with_message=*/false);
    return;
  }
  message_.Clear();
  if (absl::Status status = EncodeEvent(*request_, encodings_, event, &message_); !status.ok()) {
    request_->stream->Cancel(status);
    End(std::move(status), /*with_message=*/false);
    return;
  }
  if (std::holds_alternative<ResultEvent>(event)) {
    End(absl::OkStatus(), /*with_message=*/message_.event_case() != Event::EVENT_NOT_SET);
    return;
  }
  if (std::holds_alternative<StateEvent>(event)) CountState();
  {
    MutexLock lock(mutex_);
    turn_ = Turn::kWriting;
    write_ = backend_->writers->WriteBegun(this->shared_from_this());
  }
  this->StartWrite(&message_);
}

template <typename Event>
void StreamReactor<Event>::CountState() {
  backend_->metrics->StatesSent(1);
  if (std::exchange(state_sent_, true)) return;
  backend_->metrics->FirstStateSeconds(SecondsBetween(record_.arrival, backend_->clock->Now()));
}

// The one place that finishes. The last write counts as in flight until OnDone, because a peer that
// does not read holds up the status as well.
template <typename Event>
void StreamReactor<Event>::End(absl::Status status, bool with_message) {
  // Chains of it that still wait need not be looked at by an engine.
  if (!status.ok() && request_) backend_->queue->Remove(*request_);
  grpc::Status wire = ToGrpc(status);
  status_ = std::move(status);
  {
    MutexLock lock(mutex_);
    turn_ = Turn::kFinished;
    write_ = backend_->writers->WriteBegun(this->shared_from_this());
  }
  if (with_message) {
    this->StartWriteAndFinish(&message_, grpc::WriteOptions(), std::move(wire));
  } else {
    this->Finish(std::move(wire));
  }
}

template <typename Event>
void StreamReactor<Event>::OnWriteDone(bool ok) {
  {
    MutexLock lock(mutex_);
    backend_->writers->WriteEnded(write_);
    turn_ = Turn::kReady;
  }
  // The peer is gone, which OnCancel may say only later; until then nothing is to be written.
  if (!ok) request_->stream->Cancel(WhyCancelled());
  backend_->writers->Schedule(this->shared_from_this());
}

template <typename Event>
void StreamReactor<Event>::OnCancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  if (!request_) return;
  backend_->queue->Remove(*request_);
  request_->stream->Cancel(WhyCancelled());
}

template <typename Event>
absl::Status StreamReactor<Event>::WhyCancelled() const {
  return CancelledStatus(request_->deadline, backend_->clock->Now());
}

template <typename Event>
void StreamReactor<Event>::OnWriteStalled() {
  if (request_) {
    request_->stream->Cancel(WithReason(
        absl::CancelledError("the caller did not read within the write timeout"), kReaderStalled));
  }
  MutexLock lock(context_mutex_);
  if (context_ != nullptr) context_->TryCancel();
}

template <typename Event>
void StreamReactor<Event>::OnDone() {
  {
    MutexLock lock(context_mutex_);
    context_ = nullptr;
  }
  {
    MutexLock lock(mutex_);
    backend_->writers->WriteEnded(write_);
  }
  // OK was sent but did not arrive.
  if (status_.ok() && cancelled_.load(std::memory_order_relaxed)) {
    status_ = absl::CancelledError("the caller was gone before the end");
  }
  if (request_) {
    backend_->metrics->StatesDropped(request_->stream->states_dropped());
    record_.rows = request_->stream->denoiser_rows();
    record_.queue_seconds = request_->stream->queue_seconds();
  }
  RecordCall(record_, status_, backend_->clock->Now(), backend_->metrics);
  const std::shared_ptr<StreamReactor> self = std::move(self_);
  on_done_();
}

template class StreamReactor<v1::SampleEvent>;
template class StreamReactor<v1::DiffuseEvent>;
template class StreamReactor<v1::EvaluateEvent>;

}  // namespace denoise
