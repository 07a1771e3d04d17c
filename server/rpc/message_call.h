// Calls of which one message is read.
#ifndef DENOISE_SERVER_RPC_MESSAGE_CALL_H_
#define DENOISE_SERVER_RPC_MESSAGE_CALL_H_

#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/rpc/call_metadata.h"
#include "server/rpc/messages/byte_buffer.h"
#include "server/rpc/raw_service.h"
#include "server/rpc/reception.h"
#include "server/rpc/status.h"

namespace denoise {

// Once Receive() was called, exactly one of OnMessage and OnNoMessage is, also where the caller
// cancels; nothing finishes the call before that.
template <typename Message>
class MessageCall : public RawReactor {
 protected:
  MessageCall(Reception* reception, const grpc::CallbackServerContext* context)
      : reception_(reception), context_(context) {}

  // Lets gRPC take the message in. Once.
  void Receive() {
    read_ = reception_->receiving()->Begin(
        context_->peer(), [this](absl::Status why) { OnNoMessage(std::move(why)); });
    StartRead(&bytes_);
  }

  // The message is gone when this returns. On one of gRPC's threads.
  virtual void OnMessage(const Message& message) = 0;
  // It was refused, or none came. On one of gRPC's threads, or ReceiveLimit's.
  virtual void OnNoMessage(absl::Status why) = 0;

 private:
  void OnReadDone(bool ok) final {
    if (!reception_->receiving()->End(read_, ok ? bytes_.Length() : 0)) {  // it was cut off
      bytes_.Clear();
      return;
    }
    if (!ok) {
      OnNoMessage(reception_->WhyNoMessage(*context_));
      return;
    }
    reception_->messages()->Read(&bytes_, Message::default_instance(),
                                 [this](absl::StatusOr<const google::protobuf::Message*> message) {
                                   if (message.ok()) {
                                     OnMessage(static_cast<const Message&>(**message));
                                   } else {
                                     OnNoMessage(std::move(message).status());
                                   }
                                 });
  }

  Reception* const reception_;
  const grpc::CallbackServerContext* const context_;  // gRPC's, until OnDone
  ReceiveLimit::ReadId read_ = 0;
  grpc::ByteBuffer bytes_;
};

// A call that is answered at once. Owns itself until OnDone.
template <typename Message, typename Response>
class UnaryCall final : public MessageCall<Message> {
 public:
  // Fills in the response, and what it finds out about the call.
  using Work = std::function<absl::Status(const Message&, Response*, CallRecord*)>;

  static RawReactor* Start(Reception* reception, grpc::CallbackServerContext* context,
                           const char* method, Work work) {
    auto* call = new UnaryCall(reception, context, method, std::move(work));
    context->AddTrailingMetadata(kRequestId, call->record_.id);
    if (call->allowed_.ok()) {
      call->Receive();
    } else {
      call->OnNoMessage(call->allowed_);
    }
    return call;
  }

 private:
  UnaryCall(Reception* reception, grpc::CallbackServerContext* context, const char* method,
            Work work)
      : MessageCall<Message>(reception, context),
        reception_(reception),
        work_(std::move(work)),
        record_(reception->NewRecord(method)),
        allowed_(reception->CheckCaller(*context, &record_)) {}

  void OnMessage(const Message& message) override {
    Response response;
    const absl::Status status = work_(message, &response, &record_);
    reception_->Record(record_, status);
    if (status.ok()) {
      answer_ = ToBytes(response);
      this->StartWriteAndFinish(&answer_, grpc::WriteOptions(), grpc::Status::OK);
    } else {
      this->Finish(ToGrpc(status));
    }
  }

  void OnNoMessage(absl::Status why) override {
    reception_->RecordRefused(record_, why);
    this->Finish(ToGrpc(why));
  }

  void OnDone() override { delete this; }

  Reception* const reception_;
  const Work work_;
  CallRecord record_;
  const absl::Status allowed_;
  grpc::ByteBuffer answer_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_MESSAGE_CALL_H_
