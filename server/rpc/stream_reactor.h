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
#include "grpcpp/support/server_callback.h"
#include "server/engine/mutex.h"
#include "server/engine/request.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_record.h"
#include "server/rpc/messages/event_encoder.h"
#include "server/rpc/writer_pool.h"

namespace denoise {

// Writes Accepted, then the events of the request's stream, one write in flight at a time, then the
// status, exactly once. `Event` is v1::SampleEvent, v1::DiffuseEvent or v1::EvaluateEvent.
//
// Whose turn it is, is one enum under one mutex: OnWriteDone, OnCancel, the engines' "ready" and
// the pool race each other. Reactions only pass the turn on; what takes time happens in WriteNext,
// on a thread of the pool. The reactor owns itself until OnDone; a pool or an engine that still
// holds it then finds it finished and touches no gRPC object.
template <typename Event>
class StreamReactor final : public grpc::ServerWriteReactor<Event>,
                            public Writer,
                            public std::enable_shared_from_this<StreamReactor<Event>> {
 public:
  // Answers the call. `validated` is its request or why there is none; `on_done` is called when the
  // call is over. The result is gRPC's until then.
  static grpc::ServerWriteReactor<Event>* Start(const Backend* backend,
                                                grpc::CallbackServerContext* context,
                                                CallRecord record,
                                                absl::StatusOr<Validated> validated,
                                                std::function<void()> on_done);

  // For Start().
  StreamReactor(const Backend* backend, grpc::CallbackServerContext* context, CallRecord record,
                std::function<void()> on_done);

 private:
  // A Sample may lose states, and has its samples in the end. What the others stream is their
  // answer, of which nothing is lost.
  static constexpr bool kSampling = std::is_same_v<Event, v1::SampleEvent>;

  enum class Turn {
    kIdle,         // nothing to write
    kReady,        // on the pool's list
    kTaking,       // WriteNext looks for an event
    kTakingAgain,  // one came while it looked
    kWriting,      // a write is in flight
    kFinished,     // Finish was called
  };

  absl::Status Admit(absl::StatusOr<Validated> validated);
  void Write(const StreamEvent& event);
  void CountState();
  void End(absl::Status status, bool with_message);
  absl::Status WhyCancelled() const;

  // From the engines' threads.
  void OnEvents();
  // Of the pool.
  void WriteNext() override;
  void OnWriteStalled() override;
  // Reactions.
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  const Backend* const backend_;
  std::function<void()> on_done_;
  CallRecord record_;
  std::shared_ptr<StreamReactor> self_;

  // Set before the call is bound, constant afterwards. Null where the call was rejected.
  std::shared_ptr<const Request> request_;
  Encodings encodings_;

  // Of the thread whose turn it is; the message rests while a write is in flight.
  Event message_;
  bool state_sent_ = false;
  absl::Status status_;  // given to Finish

  Mutex mutex_;
  Turn turn_ ABSL_GUARDED_BY(mutex_) = Turn::kWriting;
  WriterPool::WriteId write_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> cancelled_{false};

  // The context lives until OnDone returns. A mutex of its own, so that what TryCancel sets off
  // finds the other one free.
  Mutex context_mutex_;
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(context_mutex_);
};

extern template class StreamReactor<v1::SampleEvent>;
extern template class StreamReactor<v1::DiffuseEvent>;
extern template class StreamReactor<v1::EvaluateEvent>;

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_STREAM_REACTOR_H_
