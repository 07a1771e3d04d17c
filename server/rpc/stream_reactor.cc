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

template <typename Message, typename Event>
RawReactor* StreamReactor<Message, Event>::Start(const Backend* backend,
                                                 grpc::CallbackServerContext* context,
                                                 CallRecord record, absl::Status allowed,
                                                 Validate validate, std::atomic<int>* in_flight) {
  auto reactor = std::make_shared<StreamReactor>(backend, context, std::move(record),
                                                 std::move(validate), in_flight);
  reactor->self_ = reactor;
  if (!allowed.ok()) {
    reactor->Refuse(std::move(allowed));
    return reactor.get();
  }
  {
    // A caller that does not send is like one that does not read.
    MutexLock lock(reactor->mutex_);
    reactor->write_ = backend->writers->WriteBegun(reactor);
  }
  reactor->Receive();
  return reactor.get();
}

template <typename Message, typename Event>
StreamReactor<Message, Event>::StreamReactor(const Backend* backend,
                                             grpc::CallbackServerContext* context,
                                             CallRecord record, Validate validate,
                                             std::atomic<int>* in_flight)
    : MessageCall<Message>(backend->reception, context),
      backend_(backend),
      validate_(std::move(validate)),
      in_flight_(in_flight),
      record_(std::move(record)),
      context_(context) {}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::OnMessage(const Message& message) {
  const auto self = this->shared_from_this();  // it may be over before this returns
  {
    MutexLock lock(mutex_);
    backend_->writers->WriteEnded(write_);
  }
  counted_ = true;
  in_flight_->fetch_add(1, std::memory_order_relaxed);
  record_.arrival = backend_->clock->Now();
  absl::StatusOr<Validated> validated = validate_(message, &record_);
  absl::Status status = validated.ok() ? Admit(*std::move(validated)) : validated.status();
  if (!status.ok()) Refuse(std::move(status));
}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::OnNoMessage(absl::Status why) {
  {
    MutexLock lock(mutex_);
    backend_->writers->WriteEnded(write_);
  }
  Refuse(std::move(why));
}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::Refuse(absl::Status status) {
  if (!absl::IsCancelled(status)) RecordRejection(status, backend_->metrics);
  End(std::move(status));
}

// Queues the request and starts the write of Accepted. The turn is kWriting from the beginning, so
// that events which come at once wait until Accepted is out.
template <typename Message, typename Event>
absl::Status StreamReactor<Message, Event>::Admit(Validated validated) {
  auto request = std::make_shared<Request>(std::move(validated.request));
  const ModelInfo& model = *request->model;
  encodings_ = validated.encodings;
  record_.num_samples = request->num_samples;
  record_.steps = request->table->total_steps;
  request->id = record_.id;
  request->arrival = record_.arrival;
  {
    MutexLock lock(context_mutex_);
    request->deadline = DeadlineOf(*context_, backend_->clock->Now());
  }
  if (absl::Status status = Grant(record_.caller, request.get()); !status.ok()) return status;

  // Filled before the request is queued: engines may be quick.
  Event event;
  EncodeAccepted(*request, &event);
  v1::Accepted* accepted = event.mutable_accepted();
  // Weak, because the reactor holds the request and the request its stream.
  const absl::StatusOr<WaitingQueue::Place> place =
      denoise::Admit(*backend_, request, kSampling ? Reading::kLosesStates : Reading::kHoldsChains,
                     [weak = this->weak_from_this()] {
                       if (const auto self = weak.lock()) self->OnEvents();
                     });
  if (!place.ok()) return place.status();
  accepted->set_queue_position(place->requests_before);
  const uint64_t rows_before = place->rows_before + backend_->rows_ahead();
  SetDuration(absl::ToDoubleSeconds(TimeFor(model, rows_before)),
              accepted->mutable_estimated_wait());
  bytes_ = ToBytes(event);
  bool cancelled;
  {
    MutexLock lock(mutex_);
    request_ = std::move(request);
    cancelled = cancelled_;  // before there was anything to cancel
    write_ = backend_->writers->WriteBegun(this->shared_from_this());
  }
  this->StartWrite(&bytes_);
  if (cancelled) OnCancel();
  return absl::OkStatus();
}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::OnEvents() {
  {
    MutexLock lock(mutex_);
    if (turn_ == Turn::kTaking) turn_ = Turn::kTakingAgain;
    if (turn_ != Turn::kIdle) return;
    turn_ = Turn::kReady;
  }
  backend_->writers->Schedule(this->shared_from_this());
}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::WriteNext() {
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

template <typename Message, typename Event>
void StreamReactor<Message, Event>::Write(const StreamEvent& event) {
  if (const auto* status = std::get_if<absl::Status>(&event)) {
    End(*status);
    return;
  }
  {
    // Gone before the write is awaited: the bytes are all that is kept for a reader.
    Event message;
    if (absl::Status status = EncodeEvent(*request_, encodings_, event, &message); !status.ok()) {
      request_->stream->Cancel(status);
      End(std::move(status));
      return;
    }
    bytes_ = message.event_case() == Event::EVENT_NOT_SET ? grpc::ByteBuffer() : ToBytes(message);
  }
  if (std::holds_alternative<ResultEvent>(event)) {
    End(absl::OkStatus());
    return;
  }
  if (std::holds_alternative<StateEvent>(event)) CountState();
  {
    MutexLock lock(mutex_);
    turn_ = Turn::kWriting;
    write_ = backend_->writers->WriteBegun(this->shared_from_this());
  }
  this->StartWrite(&bytes_);
}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::CountState() {
  backend_->metrics->StatesSent(1);
  if (std::exchange(state_sent_, true)) return;
  backend_->metrics->FirstStateSeconds(SecondsBetween(record_.arrival, backend_->clock->Now()));
}

// The one place that finishes, with what is in the bytes where all went well. The last write counts
// as in flight until OnDone, because a peer that does not read holds up the status as well.
template <typename Message, typename Event>
void StreamReactor<Message, Event>::End(absl::Status status) {
  // Chains of it that still wait need not be looked at by an engine.
  if (!status.ok() && request_) backend_->queue->Remove(*request_);
  grpc::Status wire = ToGrpc(status);
  const bool with_message = status.ok() && bytes_.Valid();
  status_ = std::move(status);
  {
    MutexLock lock(mutex_);
    turn_ = Turn::kFinished;
    write_ = backend_->writers->WriteBegun(this->shared_from_this());
  }
  if (with_message) {
    this->StartWriteAndFinish(&bytes_, grpc::WriteOptions(), std::move(wire));
  } else {
    this->Finish(std::move(wire));
  }
}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::OnWriteDone(bool ok) {
  {
    MutexLock lock(mutex_);
    backend_->writers->WriteEnded(write_);
    turn_ = Turn::kReady;
  }
  // The peer is gone, which OnCancel may say only later; until then nothing is to be written.
  if (!ok) request_->stream->Cancel(WhyCancelled());
  backend_->writers->Schedule(this->shared_from_this());
}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::OnCancel() {
  {
    MutexLock lock(mutex_);
    cancelled_ = true;
    if (!request_) return;
  }
  backend_->queue->Remove(*request_);
  request_->stream->Cancel(WhyCancelled());
}

template <typename Message, typename Event>
absl::Status StreamReactor<Message, Event>::WhyCancelled() const {
  return CancelledStatus(request_->deadline, backend_->clock->Now());
}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::OnWriteStalled() {
  bool admitted;
  {
    MutexLock lock(mutex_);
    admitted = request_ != nullptr;
  }
  if (admitted) {
    request_->stream->Cancel(WithReason(
        absl::CancelledError("the caller did not read within the write timeout"), kReaderStalled));
  }
  MutexLock lock(context_mutex_);
  if (context_ != nullptr) context_->TryCancel();
}

template <typename Message, typename Event>
void StreamReactor<Message, Event>::OnDone() {
  {
    MutexLock lock(context_mutex_);
    context_ = nullptr;
  }
  bool cancelled;
  {
    MutexLock lock(mutex_);
    backend_->writers->WriteEnded(write_);
    cancelled = cancelled_;
  }
  // OK was sent but did not arrive.
  if (status_.ok() && cancelled) {
    status_ = absl::CancelledError("the caller was gone before the end");
  }
  if (request_) {
    backend_->metrics->StatesDropped(request_->stream->states_dropped());
    record_.rows = request_->stream->denoiser_rows();
    record_.queue_seconds = request_->stream->queue_seconds();
  }
  RecordCall(record_, status_, backend_->clock->Now(), backend_->metrics);
  if (counted_) in_flight_->fetch_sub(1, std::memory_order_relaxed);
  const std::shared_ptr<StreamReactor> self = std::move(self_);
}

template class StreamReactor<v1::SampleRequest, v1::SampleEvent>;
template class StreamReactor<v1::DiffuseRequest, v1::DiffuseEvent>;
template class StreamReactor<v1::EvaluateRequest, v1::EvaluateEvent>;

}  // namespace denoise
