// A streaming call: Sample, Diffuse or Evaluate.
#ifndef DENOISE_SERVER_RPC_STREAM_REACTOR_H_
#define DENOISE_SERVER_RPC_STREAM_REACTOR_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/v1/diffusion.pb.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/engine/mutex.h"
#include "server/engine/request.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_record.h"
#include "server/rpc/message_call.h"
#include "server/rpc/messages/event_encoder.h"
#include "server/rpc/writer_pool.h"

namespace denoise {

// Reads the request, then writes Accepted and the events of the request's stream, one write in
// flight at a time, then the status, exactly once. `Message` is v1::SampleRequest, DiffuseRequest
// or EvaluateRequest, `Event` what answers it.
//
// Whose turn it is, is one enum under one mutex: OnWriteDone, OnCancel, the engines' "ready" and
// the pool race each other. Reactions only pass the turn on; what takes time happens in WriteNext,
// on a thread of the pool. The reactor owns itself until OnDone; a pool or an engine that still
// holds it then finds it finished and touches no gRPC object.
template <typename Message, typename Event>
class StreamReactor final : public MessageCall<Message>,
                            public Writer,
                            public std::enable_shared_from_this<StreamReactor<Message, Event>> {
 public:
  // Checks the message and notes in the record what it finds.
  using Validate = std::function<absl::StatusOr<Validated>(const Message&, CallRecord*)>;

  // Answers the call, of which no message is read unless it is `allowed`. It counts as one in
  // flight from its message to its end. The result is gRPC's until then.
  static RawReactor* Start(const Backend* backend, grpc::CallbackServerContext* context,
                           CallRecord record, absl::Status allowed, Validate validate,
                           std::atomic<int>* in_flight);

  // For Start().
  StreamReactor(const Backend* backend, grpc::CallbackServerContext* context, CallRecord record,
                Validate validate, std::atomic<int>* in_flight);

 private:
  // A Sample may lose states, and has its samples in the end. What the others stream is their
  // answer, of which nothing is lost.
  static constexpr bool kSampling = std::is_same_v<Message, v1::SampleRequest>;

  enum class Turn {
    kIdle,         // nothing to write
    kReady,        // on the pool's list
    kTaking,       // WriteNext looks for an event
    kTakingAgain,  // one came while it looked
    kWriting,      // a write is in flight, or there is no request yet
    kFinished,     // Finish was called
  };

  absl::Status Admit(Validated validated);
  void Refuse(absl::Status status);
  void Write(const StreamEvent& event);
  void CountState();
  void End(absl::Status status);
  absl::Status WhyCancelled() const;

  // From the engines' threads.
  void OnEvents();
  // Of the pool.
  void WriteNext() override;
  void OnWriteStalled() override;
  // Reactions.
  void OnMessage(const Message& message) override;
  void OnNoMessage(absl::Status why) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  const Backend* const backend_;
  const Validate validate_;
  std::atomic<int>* const in_flight_;
  bool counted_ = false;  // there
  CallRecord record_;
  std::shared_ptr<StreamReactor> self_;

  // Set once, under the mutex, and read without it by whoever has the turn after that. Null where
  // the call was refused, and before it was admitted.
  std::shared_ptr<const Request> request_;
  Encodings encodings_;

  // Of the thread whose turn it is; the bytes rest while a write is in flight.
  grpc::ByteBuffer bytes_;
  bool state_sent_ = false;
  absl::Status status_;  // given to Finish

  Mutex mutex_;
  Turn turn_ ABSL_GUARDED_BY(mutex_) = Turn::kWriting;
  WriterPool::WriteId write_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;

  // The context lives until OnDone returns. A mutex of its own, so that what TryCancel sets off
  // finds the other one free.
  Mutex context_mutex_;
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(context_mutex_);
};

extern template class StreamReactor<v1::SampleRequest, v1::SampleEvent>;
extern template class StreamReactor<v1::DiffuseRequest, v1::DiffuseEvent>;
extern template class StreamReactor<v1::EvaluateRequest, v1::EvaluateEvent>;

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_STREAM_REACTOR_H_
