#include "server/rpc/inference/infer_reactor.h"

#include <optional>
#include <utility>

#include "server/rpc/status.h"

namespace denoise {

grpc::ServerUnaryReactor* InferReactor::Start(const InferContext* context,
                                              grpc::CallbackServerContext* call,
                                              const inference::ModelInferRequest& request,
                                              inference::ModelInferResponse* response) {
  auto reactor = std::make_shared<InferReactor>(context, call, response);
  reactor->self_ = reactor;
  // Weak, because the request holds it and the reactor the request.
  reactor->inference_.Start(*call, request,
                            [writers = reactor->writers_, weak = reactor->weak_from_this()] {
                              if (auto self = weak.lock()) writers->Schedule(std::move(self));
                            });
  return reactor.get();
}

InferReactor::InferReactor(const InferContext* context, grpc::CallbackServerContext* call,
                           inference::ModelInferResponse* response)
    : writers_(context->backend->writers),
      response_(response),
      inference_(context, /*streamed=*/false),
      call_(call) {}

void InferReactor::WriteNext() {
  std::optional<InferCall::Answer> answer = inference_.Take(response_);
  if (!answer.has_value()) return;
  grpc::Status wire = ToGrpc(answer->status);
  {
    MutexLock lock(mutex_);
    status_ = std::move(answer->status);
    write_ = writers_->WriteBegun(shared_from_this());
  }
  Finish(std::move(wire));
}

void InferReactor::OnWriteStalled() {
  MutexLock lock(mutex_);
  status_ = WithReason(absl::CancelledError("the caller did not read within the write timeout"),
                       kReaderStalled);
  if (call_ != nullptr) call_->TryCancel();
}

void InferReactor::OnCancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  inference_.Cancel(inference_.WhyCancelled());
}

void InferReactor::OnDone() {
  absl::Status status;
  {
    MutexLock lock(mutex_);
    call_ = nullptr;
    writers_->WriteEnded(write_);
    status = status_;
  }
  // OK was sent but did not arrive.
  if (status.ok() && cancelled_.load(std::memory_order_relaxed)) {
    status = absl::CancelledError("the caller was gone before the end");
  }
  inference_.End(std::move(status));
  const std::shared_ptr<InferReactor> self = std::move(self_);
}

}  // namespace denoise
