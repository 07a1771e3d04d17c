// A call of ModelStreamInfer: many inferences at once, their answers as they come.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFER_STREAM_REACTOR_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFER_STREAM_REACTOR_H_

#include <cstddef>
#include <deque>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "inference/grpc_service.pb.h"
#include "server/engine/mutex.h"
#include "server/rpc/inference/infer_call.h"
#include "server/rpc/raw_service.h"
#include "server/rpc/writer_pool.h"

namespace denoise {

// Reads requests and starts an inference for each; inferences that have something to say take
// turns, one write in flight at a time. Ends when the caller has closed its side and every
// inference is answered. Reactions only pass the turn on; answers are taken, encoded and written on
// a thread of the pool. Owns itself until OnDone.
class InferStreamReactor final : public RawReactor,
                                 public Writer,
                                 public std::enable_shared_from_this<InferStreamReactor> {
 public:
  // Of one stream; no more is read until some are answered.
  static constexpr size_t kMaxInferences = 256;

  static RawReactor* Start(const InferContext* context, grpc::CallbackServerContext* call);

  // For Start().
  InferStreamReactor(const InferContext* context, grpc::CallbackServerContext* call);

 private:
  using Inference = std::shared_ptr<InferCall>;

  void ReadNext();
  // Ends the call for that reason: its caller does not read, or sends too much.
  void Break(const absl::Status& why);
  // One that was read, or refused.
  void OnMessage(const Inference& inference,
                 absl::StatusOr<const google::protobuf::Message*> message);
  // From the engines' threads, and where a request is refused.
  void OnEvents(const Inference& inference);
  // The next inference that has something to say; null: the turn is over, or `finish` was set.
  Inference NextReady(bool* finish);
  // Schedules itself unless somebody has the turn.
  void PassTurn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CancelAll(const absl::Status* why);

  // Of the pool.
  void WriteNext() override;
  void OnWriteStalled() override;
  // Reactions.
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  const InferContext* const context_;
  WriterPool* const writers_;
  grpc::CallbackServerContext* const call_;  // of the reactions alone
  std::shared_ptr<InferStreamReactor> self_;

  ReceiveLimit::ReadId read_ = 0;
  grpc::ByteBuffer request_;  // of the read in flight, then of the one who makes a message of it
  // Of the one whose turn it is; they rest while the write is in flight.
  grpc::ByteBuffer bytes_;
  Inference writing_;
  InferCall::Answer answer_;

  Mutex mutex_;
  bool turn_taken_ ABSL_GUARDED_BY(mutex_) = false;  // on the pool's list, in WriteNext, or writing
  bool reads_over_ ABSL_GUARDED_BY(mutex_) = false;  // the caller has closed its side
  bool reads_rest_ ABSL_GUARDED_BY(mutex_) = false;  // there are as many inferences as may be
  bool taking_in_ ABSL_GUARDED_BY(mutex_) = false;   // one was read, and is not started yet
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);    // not OK: why the caller was cut off
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;  // Finish was called
  WriterPool::WriteId write_ ABSL_GUARDED_BY(mutex_) = 0;
  // Those that are not answered to the end, and whether they have been started.
  absl::flat_hash_map<Inference, bool> inferences_ ABSL_GUARDED_BY(mutex_);
  std::deque<Inference> ready_ ABSL_GUARDED_BY(mutex_);

  // For TryCancel. A mutex of its own, so that what that sets off finds the other one free.
  Mutex cancel_mutex_;
  grpc::CallbackServerContext* cancellable_ ABSL_GUARDED_BY(cancel_mutex_);  // until OnDone
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFER_STREAM_REACTOR_H_
