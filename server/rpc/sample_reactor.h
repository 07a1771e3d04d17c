// A streaming call: Sample or Diffuse.
#ifndef DENOISE_SERVER_RPC_SAMPLE_REACTOR_H_
#define DENOISE_SERVER_RPC_SAMPLE_REACTOR_H_

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
#include "server/rpc/writer_pool.h"

namespace denoise {

// Writes Accepted, then the events of the request's stream, one write in flight at a time, then the
// status, exactly once. `Event` is v1::SampleEvent or v1::DiffuseEvent.
//
// Whose turn it is, is one enum under one mutex: OnWriteDone, OnCancel, the engines' "ready" and
// the pool race each other. Reactions only pass the turn on; what takes time happens in WriteNext,
// on a thread of the pool. The reactor owns itself until OnDone; a pool or an engine that still
// holds it then finds it finished and touches no gRPC object.
template <typename Event>
class SampleReactor final : public grpc::ServerWriteReactor<Event>,
                            public Writer,
                            public std::enable_shared_from_this<SampleReactor<Event>> {
 public:
  // Answers the call. `validated` is its request or why there is none; `on_done` is called when the
  // call is over. The result is gRPC's until then.
  static grpc::ServerWriteReactor<Event>* Start(const Backend* backend,
                                                grpc::CallbackServerContext* context,
                                                CallRecord record,
                                                absl::StatusOr<Validated> validated,
                                                std::function<void()> on_done);

  // For Start().
  SampleReactor(const Backend* backend, grpc::CallbackServerContext* context, CallRecord record,
                std::function<void()> on_done);

 private:
  // Diffuse loses no state, and its states are its answer: there is no Result.
  static constexpr bool kForward = std::is_same_v<Event, v1::DiffuseEvent>;

  enum class Turn {
    kIdle,         // nothing to write
    kReady,        // on the pool's list
    kTaking,       // WriteNext looks for an event
    kTakingAgain,  // one came while it looked
    kWriting,      // a write is in flight
    kFinished,     // Finish was called
  };

  absl::Status Admit(absl::StatusOr<Validated> validated);
  absl::Status Encode(const StreamEvent& event);
  void Write(const StreamEvent& event);
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
  std::shared_ptr<SampleReactor> self_;

  // Set before the call is bound, constant afterwards. Null where the call was rejected.
  std::shared_ptr<const Request> request_;
  bool png_states_ = false;
  bool png_samples_ = false;

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

extern template class SampleReactor<v1::SampleEvent>;
extern template class SampleReactor<v1::DiffuseEvent>;

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_SAMPLE_REACTOR_H_
