#include "server/rpc/inference/infer_reactor.h"

#include <optional>
#include <utility>

#include "server/rpc/status.h"

namespace denoise {

RawReactor* InferReactor::Start(const InferContext* context, grpc::CallbackServerContext* call) {
  auto reactor = std::make_shared<InferReactor>(context, call);
  reactor->self_ = reactor;
  {
    // A caller that does not send is like one that does not read.
    MutexLock lock(reactor->mutex_);
    reactor->write_ = reactor->writers_->WriteBegun(reactor);
  }
  if (absl::Status allowed = reactor->inference_.CheckCaller(*call); allowed.ok()) {
    reactor->Receive();
  } else {
    reactor->OnNoMessage(std::move(allowed));
  }
  return reactor.get();
}

InferReactor::InferReactor(const InferContext* context, grpc::CallbackServerContext* call)
    : MessageCall(context->backend->reception, call),
      writers_(context->backend->writers),
      inference_(context, /*streamed=*/false),
      call_(call) {}

// Weak, because the request holds it and the reactor the request.
std::function<void()> InferReactor::Scheduler() {
  return [writers = writers_, weak = weak_from_this()] {
    if (auto self = weak.lock()) writers->Schedule(std::move(self));
  };
}

void InferReactor::StopReceiving() {
  MutexLock lock(mutex_);
  writers_->WriteEnded(write_);
}

void InferReactor::OnMessage(const inference::ModelInferRequest& message) {
  const auto self = shared_from_this();  // it may be over before this returns
  StopReceiving();
  const grpc::CallbackServerContext* call;
  {
    MutexLock lock(mutex_);
    call = call_;
  }
  inference_.Start(*call, message, Scheduler());
  bool cancelled;
  {
    MutexLock lock(mutex_);
    started_ = true;
    cancelled = cancelled_;
  }
  if (cancelled) inference_.Cancel(inference_.WhyCancelled());
}

void InferReactor::OnNoMessage(absl::Status why) {
  const auto self = shared_from_this();
  StopReceiving();
  inference_.Refuse(std::move(why), Scheduler());
}

void InferReactor::WriteNext() {
  std::optional<InferCall::Answer> answer;
  {
    inference::ModelInferResponse response;
    answer = inference_.Take(&response);
    if (!answer.has_value()) return;
    if (answer->status.ok()) answer_ = ToBytes(response);
  }
  const bool ok = answer->status.ok();
  grpc::Status wire = ToGrpc(answer->status);
  {
    MutexLock lock(mutex_);
    status_ = std::move(answer->status);
    write_ = writers_->WriteBegun(shared_from_this());
  }
  if (ok) {
    StartWriteAndFinish(&answer_, grpc::WriteOptions(), std::move(wire));
  } else {
    Finish(std::move(wire));
  }
}

void InferReactor::OnWriteStalled() {
  MutexLock lock(mutex_);
  status_ = WithReason(absl::CancelledError("the caller did not read within the write timeout"),
                       kReaderStalled);
  if (call_ != nullptr) call_->TryCancel();
}

void InferReactor::OnCancel() {
  {
    MutexLock lock(mutex_);
    cancelled_ = true;
    if (!started_) return;
  }
  inference_.Cancel(inference_.WhyCancelled());
}

void InferReactor::OnDone() {
  absl::Status status;
  {
    MutexLock lock(mutex_);
    call_ = nullptr;
    writers_->WriteEnded(write_);
    status = status_;
    // OK was sent but did not arrive.
    if (status.ok() && cancelled_) {
      status = absl::CancelledError("the caller was gone before the end");
    }
  }
  inference_.End(std::move(status));
  const std::shared_ptr<InferReactor> self = std::move(self_);
}

}  // namespace denoise
