// One inference: a ModelInferRequest from its arrival to its last answer.
#ifndef DENOISE_SERVER_RPC_INFERENCE_INFER_CALL_H_
#define DENOISE_SERVER_RPC_INFERENCE_INFER_CALL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/server_context.h"
#include "inference/grpc_service.pb.h"
#include "server/engine/request.h"
#include "server/rpc/backend.h"
#include "server/rpc/call_record.h"
#include "server/rpc/inference/infer_inputs.h"
#include "server/rpc/inference/infer_model.h"
#include "server/rpc/inference/infer_outputs.h"
#include "server/rpc/inference/infer_statistics.h"
#include "server/rpc/inference/shared_memory.h"

namespace denoise {

// What inferences have in common. All of it is thread-safe and outlives the gRPC server.
struct InferContext {
  const Backend* backend = nullptr;
  const RequestValidator* validator = nullptr;
  SharedMemoryRegistry* shared_memory = nullptr;
  InferStatistics* statistics = nullptr;
  const std::atomic<bool>* draining = nullptr;
  std::atomic<int>* in_flight = nullptr;  // inferences that were started and are not over
};

// Made and started by one thread, then of the one whose turn it is to answer; once Start() or
// Refuse() has returned, Cancel() is for any thread.
class InferCall {
 public:
  // `streamed`: it may have several answers, the last of them with triton_final_response.
  InferCall(const InferContext* context, bool streamed);
  // Records how it ended; without an End(), as cancelled.
  ~InferCall();
  InferCall(const InferCall&) = delete;
  InferCall& operator=(const InferCall&) = delete;

  // Whether the caller may call, before anything is read.
  absl::Status CheckCaller(const grpc::CallbackServerContext& call);

  // Reads, checks and queues the message, of which nothing is needed afterwards. `on_ready`: as of
  // EventStream::OnReady; also called, by this, where the message is refused, which is its answer.
  void Start(const grpc::CallbackServerContext& call, const inference::ModelInferRequest& message,
             std::function<void()> on_ready);
  // In place of Start(): the answer is why there is no message to start with.
  void Refuse(absl::Status why, const std::function<void()>& on_ready);

  struct Answer {
    absl::Status status;  // not OK: how the inference ended instead
    bool last = true;
  };
  // The next answer, into a response that is empty; nullopt: nothing now. Encodes pictures: for the
  // writers' threads. A refusal fills in the response's names, too.
  std::optional<Answer> Take(inference::ModelInferResponse* response);

  // Frees its chains within a tick; its last answer is then `status`, unless there was one already.
  void Cancel(const absl::Status& status);
  // How gRPC's cancel of the whole call ends it.
  absl::Status WhyCancelled() const;
  // Its last answer was sent, or could not be.
  void End(absl::Status status) { ended_ = std::move(status); }

 private:
  absl::Status TryStart(const grpc::CallbackServerContext& call,
                        const inference::ModelInferRequest& message,
                        std::function<void()> on_ready);
  absl::StatusOr<Request> Read(const inference::ModelInferRequest& message);
  absl::StatusOr<Request> ReadSample(const inference::ModelInferRequest& message,
                                     std::vector<InferTensor> inputs);
  absl::Status EncodeResult(const ResultEvent& result, inference::ModelInferResponse* response);
  absl::Status EncodePngs(const ResultEvent& result, const InferOutput& output,
                          inference::ModelInferResponse* response);
  absl::Status EncodeState(const StateEvent& state, inference::ModelInferResponse* response);

  const InferContext& context_;
  const Backend& backend_;
  const bool streamed_;
  bool started_ = false;  // and counted as in flight

  // Constant between Start() and the destructor, which completes the record.
  CallRecord record_;
  std::string model_name_;
  std::string id_;
  std::optional<InferModel> model_;  // nullopt: none was found
  InferOutputs outputs_;
  SharedMemory memory_;                     // of the caller's tenant
  std::shared_ptr<const Request> request_;  // null where it was refused
  absl::Status refused_;

  InferTimes times_;
  bool state_sent_ = false;
  std::optional<absl::Status> ended_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_INFERENCE_INFER_CALL_H_
