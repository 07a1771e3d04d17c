// One streaming call on gRPC's callback API.
#ifndef DENOISE_CLIENT_SRC_EVENT_CALL_H_
#define DENOISE_CLIENT_SRC_EVENT_CALL_H_

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "client/src/reaper.h"
#include "client/src/status.h"
#include "denoise/async_call.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/client_callback.h"

namespace denoise {
inline namespace client_v1 {

// Owns itself from Start() to OnDone(), whatever becomes of the others that hold it. To be made by
// MakeReaped, since its context holds the channel. `Decoder` is one of stream_decoders.h.
template <typename Request, typename WireEvent, typename E, typename Decoder>
class EventCall final
    : public grpc::ClientReadReactor<WireEvent>,
      public AsyncCallControl,
      public std::enable_shared_from_this<EventCall<Request, WireEvent, E, Decoder>> {
 public:
  using EventDecoder = Decoder;
  // Takes an event, and the duty to call ReadNext() or Release() once, then or later.
  using OnEvent = std::function<void(EventCall* call, E event)>;
  // The last thing that is called.
  using OnEnd = std::function<void(absl::Status)>;

  EventCall(Request request, Decoder decoder, OnEvent on_event, OnEnd on_end)
      : request_(std::move(request)),
        decoder_(std::move(decoder)),
        on_event_(std::move(on_event)),
        on_end_(std::move(on_end)) {}

  // To be prepared before Start().
  grpc::ClientContext& context() { return context_; }

  // `begin` binds the call: stub->async()->Sample and the like. If `status` isn't OK, the call ends
  // with it before it reaches a server.
  template <typename Begin>
  void Start(absl::Status status, Begin begin) {
    self_ = this->shared_from_this();
    if (!status.ok()) Fail(std::move(status));
    begin(&context_, &request_, this);
    // Reads are also started from outside of reactions, so OnDone must wait for the last of them.
    this->AddHold();
    ReadNext();
    this->StartCall();
  }

  void ReadNext() {
    // See Unparsable().
    message_.Clear();
    message_.mutable_accepted()->set_request_id(kUntouched);
    this->StartRead(&message_);
  }

  // In place of ReadNext(): nobody wants the rest.
  void Release() {
    context_.TryCancel();
    this->RemoveHold();
  }

  void Cancel() override { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    const Reaction reaction;
    if (!ok) {
      if (Unparsable()) Fail(Malformed("an event is not a message of the protocol"));
      this->RemoveHold();
      return;
    }
    auto event = decoder_.Decode(message_);
    if (event.ok()) return on_event_(this, *std::move(event));
    Fail(event.status());
    this->RemoveHold();
  }

  void OnDone(const grpc::Status& status) override {
    const Reaction reaction;  // outlives `self`
    const auto self = std::move(self_);
    if (failure_.ok()) failure_ = status.ok() ? decoder_.AtEnd() : FromGrpc(status);
    on_end_(std::move(failure_));
    // What they hold must not live as long as a handle does.
    on_event_ = nullptr;
    on_end_ = nullptr;
  }

 private:
  static constexpr char kUntouched[] = "untouched";

  // gRPC reports bytes that it could not parse like the end of the stream, but waits on for that
  // end, which a hostile server need not send. A message is only written to when bytes came.
  bool Unparsable() const {
    return !message_.has_accepted() || message_.accepted().request_id() != kUntouched;
  }
  void Fail(absl::Status status) {
    failure_ = std::move(status);
    context_.TryCancel();
  }

  grpc::ClientContext context_;
  const Request request_;
  Decoder decoder_;
  OnEvent on_event_;
  OnEnd on_end_;
  WireEvent message_;     // being read
  absl::Status failure_;  // found on this side
  std::shared_ptr<EventCall> self_;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_EVENT_CALL_H_
