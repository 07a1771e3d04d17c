#include "server/rpc/inference/infer_stream_reactor.h"

#include <optional>
#include <utility>
#include <vector>

#include "server/rpc/messages/byte_buffer.h"
#include "server/rpc/status.h"

namespace denoise {

RawReactor* InferStreamReactor::Start(const InferContext* context,
                                      grpc::CallbackServerContext* call) {
  auto reactor = std::make_shared<InferStreamReactor>(context, call);
  reactor->self_ = reactor;
  const Reception& reception = *context->backend->reception;
  CallRecord record = reception.NewRecord("ModelStreamInfer");
  const absl::Status allowed = reception.CheckCaller(*call, &record);
  if (allowed.ok()) {
    reactor->ReadNext();
    return reactor.get();
  }
  reception.RecordRefused(record, allowed);
  {
    MutexLock lock(reactor->mutex_);
    reactor->finished_ = true;
  }
  reactor->Finish(ToGrpc(allowed));
  return reactor.get();
}

InferStreamReactor::InferStreamReactor(const InferContext* context,
                                       grpc::CallbackServerContext* call)
    : context_(context), writers_(context->backend->writers), call_(call), cancellable_(call) {}

void InferStreamReactor::PassTurn() {
  if (turn_taken_ || finished_) return;
  turn_taken_ = true;
  writers_->Schedule(shared_from_this());
}

void InferStreamReactor::ReadNext() {
  read_ = context_->backend->reception->receiving()->Begin(
      call_->peer(), [weak = weak_from_this()](const absl::Status& why) {
        if (const auto self = weak.lock()) self->Break(why);
      });
  StartRead(&request_);
}

void InferStreamReactor::OnReadDone(bool ok) {
  if (!context_->backend->reception->receiving()->End(read_, ok ? request_.Length() : 0)) {
    ok = false;  // it was cut off
    request_.Clear();
  }
  if (!ok) {
    MutexLock lock(mutex_);
    reads_over_ = true;
    PassTurn();
    return;
  }
  {
    MutexLock lock(mutex_);
    if (cancelled_ || finished_) return;
    taking_in_ = true;
  }
  const auto inference = std::make_shared<InferCall>(context_, /*streamed=*/true);
  const absl::Status allowed = inference->CheckCaller(*call_);
  if (!allowed.ok()) {
    OnMessage(inference, allowed);
    return;
  }
  context_->backend->reception->messages()->Read(
      &request_, inference::ModelInferRequest::default_instance(),
      [this, inference](absl::StatusOr<const google::protobuf::Message*> message) {
        OnMessage(inference, std::move(message));
      });
}

void InferStreamReactor::OnMessage(const Inference& inference,
                                   absl::StatusOr<const google::protobuf::Message*> message) {
  const auto self = shared_from_this();  // it may be over before this returns
  request_.Clear();
  {
    MutexLock lock(mutex_);
    inferences_.emplace(inference, false);
  }
  // Weak, because the request holds it, and the reactor and the inference the request.
  auto on_ready = [weak = weak_from_this(), weak_inference = std::weak_ptr<InferCall>(inference)] {
    const auto self = weak.lock();
    const auto ready = weak_inference.lock();
    if (self && ready) self->OnEvents(ready);
  };
  if (message.ok()) {
    const auto& request = static_cast<const inference::ModelInferRequest&>(**message);
    inference->Start(*call_, request, std::move(on_ready));
  } else {
    inference->Refuse(std::move(message).status(), on_ready);
  }
  bool cancelled;
  {
    MutexLock lock(mutex_);
    // Perhaps it is answered by now.
    if (const auto it = inferences_.find(inference); it != inferences_.end()) it->second = true;
    taking_in_ = false;
    cancelled = cancelled_ || finished_;
    if (cancelled) PassTurn();
    if (!cancelled && inferences_.size() >= kMaxInferences) {
      reads_rest_ = true;
      return;
    }
  }
  if (cancelled) {
    inference->Cancel(inference->WhyCancelled());
  } else {
    ReadNext();
  }
}

void InferStreamReactor::OnEvents(const Inference& inference) {
  MutexLock lock(mutex_);
  ready_.push_back(inference);
  PassTurn();
}

InferStreamReactor::Inference InferStreamReactor::NextReady(bool* finish) {
  MutexLock lock(mutex_);
  if (!cancelled_ && !ready_.empty()) {
    Inference inference = std::move(ready_.front());
    ready_.pop_front();
    return inference;
  }
  // What is taken in looks at the call, which is gone soon after it has finished.
  *finish = !taking_in_ && (cancelled_ || (reads_over_ && inferences_.empty()));
  if (*finish) {
    finished_ = true;
    // Counts as a write until OnDone, because a peer that does not read holds up the status as
    // well.
    write_ = writers_->WriteBegun(shared_from_this());
  }
  turn_taken_ = false;
  return nullptr;
}

void InferStreamReactor::WriteNext() {
  bool finish = false;
  while (Inference inference = NextReady(&finish)) {
    std::optional<InferCall::Answer> answer;
    {
      inference::ModelStreamInferResponse message;
      answer = inference->Take(message.mutable_infer_response());
      if (!answer.has_value()) continue;
      if (!answer->status.ok()) message.set_error_message(MessageOf(answer->status));
      bytes_ = ToBytes(message);
    }
    answer_ = *std::move(answer);
    writing_ = std::move(inference);
    {
      MutexLock lock(mutex_);
      write_ = writers_->WriteBegun(shared_from_this());
    }
    StartWrite(&bytes_);
    return;
  }
  // Cancelled: what is said then reaches nobody.
  if (finish) Finish(grpc::Status::OK);
}

void InferStreamReactor::OnWriteDone(bool ok) {
  const Inference written = std::move(writing_);
  bool read_on = false;
  {
    MutexLock lock(mutex_);
    writers_->WriteEnded(write_);
    if (!ok) {
      cancelled_ = true;
    } else if (answer_.last) {
      written->End(std::move(answer_.status));
      inferences_.erase(written);
      read_on = std::exchange(reads_rest_, false);
    } else {
      ready_.push_back(written);
    }
  }
  if (!ok) CancelAll(nullptr);
  if (read_on) ReadNext();
  writers_->Schedule(shared_from_this());  // the turn is still ours
}

void InferStreamReactor::CancelAll(const absl::Status* why) {
  std::vector<Inference> started;
  {
    MutexLock lock(mutex_);
    for (const auto& [inference, is_started] : inferences_) {
      if (is_started) started.push_back(inference);
    }
  }
  for (const Inference& inference : started) {
    inference->Cancel(why != nullptr ? *why : inference->WhyCancelled());
  }
}

void InferStreamReactor::OnCancel() {
  {
    MutexLock lock(mutex_);
    cancelled_ = true;
  }
  CancelAll(nullptr);
  MutexLock lock(mutex_);
  PassTurn();
}

void InferStreamReactor::OnWriteStalled() {
  Break(WithReason(absl::CancelledError("the caller did not read within the write timeout"),
                   kReaderStalled));
}

void InferStreamReactor::Break(const absl::Status& why) {
  {
    MutexLock lock(mutex_);
    broken_ = why;
  }
  CancelAll(&why);
  MutexLock lock(cancel_mutex_);
  if (cancellable_ != nullptr) cancellable_->TryCancel();
}

void InferStreamReactor::OnDone() {
  {
    MutexLock lock(cancel_mutex_);
    cancellable_ = nullptr;
  }
  // Those that are left end as cancelled, and under no lock.
  absl::flat_hash_map<Inference, bool> left;
  absl::Status broken;
  {
    MutexLock lock(mutex_);
    finished_ = true;
    writers_->WriteEnded(write_);
    ready_.clear();
    left.swap(inferences_);
    broken = broken_;
  }
  for (const auto& [inference, started] : left) {
    if (!broken.ok()) inference->End(broken);
  }
  const std::shared_ptr<InferStreamReactor> self = std::move(self_);
}

}  // namespace denoise
