// A call of ModelInfer.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFER_REACTOR_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFER_REACTOR_H_

#include <atomic>
#include <memory>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "inference/grpc_service.pb.h"
#include "server/engine/mutex.h"
#include "server/rpc/inference/infer_call.h"
#include "server/rpc/writer_pool.h"

namespace denoise {

// Waits for the inference's answer, which a thread of the pool encodes. Owns itself until OnDone.
class InferReactor final : public grpc::ServerUnaryReactor,
                           public Writer,
                           public std::enable_shared_from_this<InferReactor> {
 public:
  // The messages are gRPC's, until the call is over.
  static grpc::ServerUnaryReactor* Start(const InferContext* context,
                                         grpc::CallbackServerContext* call,
                                         const inference::ModelInferRequest& request,
                                         inference::ModelInferResponse* response);

  // For Start().
  InferReactor(const InferContext* context, grpc::CallbackServerContext* call,
               inference::ModelInferResponse* response);

 private:
  // Of the pool.
  void WriteNext() override;
  void OnWriteStalled() override;
  // Reactions.
  void OnCancel() override;
  void OnDone() override;

  WriterPool* const writers_;
  inference::ModelInferResponse* const response_;
  InferCall inference_;
  std::shared_ptr<InferReactor> self_;
  std::atomic<bool> cancelled_{false};

  Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);  // given to Finish
  WriterPool::WriteId write_ ABSL_GUARDED_BY(mutex_) = 0;
  grpc::CallbackServerContext* call_ ABSL_GUARDED_BY(mutex_);  // until OnDone
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFER_REACTOR_H_
