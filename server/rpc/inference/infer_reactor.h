// A call of ModelInfer.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFER_REACTOR_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFER_REACTOR_H_

#include <memory>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "inference/grpc_service.pb.h"
#include "server/engine/mutex.h"
#include "server/rpc/inference/infer_call.h"
#include "server/rpc/message_call.h"
#include "server/rpc/writer_pool.h"

namespace denoise {

// Reads the message, then waits for the inference's answer, which a thread of the pool encodes.
// Owns itself until OnDone.
class InferReactor final : public MessageCall<inference::ModelInferRequest>,
                           public Writer,
                           public std::enable_shared_from_this<InferReactor> {
 public:
  static RawReactor* Start(const InferContext* context, grpc::CallbackServerContext* call);

  // For Start().
  InferReactor(const InferContext* context, grpc::CallbackServerContext* call);

 private:
  // Of whoever starts the inference, or refuses it.
  std::function<void()> Scheduler();
  void StopReceiving();

  // Of the pool.
  void WriteNext() override;
  void OnWriteStalled() override;
  // Reactions.
  void OnMessage(const inference::ModelInferRequest& message) override;
  void OnNoMessage(absl::Status why) override;
  void OnCancel() override;
  void OnDone() override;

  WriterPool* const writers_;
  InferCall inference_;
  grpc::ByteBuffer answer_;
  std::shared_ptr<InferReactor> self_;

  Mutex mutex_;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;  // the inference may be cancelled
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // given to Finish
  WriterPool::WriteId write_ ABSL_GUARDED_BY(mutex_) = 0;
  grpc::CallbackServerContext* call_ ABSL_GUARDED_BY(mutex_);  // until OnDone
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFER_REACTOR_H_
