// What every call of every service goes through first: who calls, and what is sent.
#ifndef DENOISE_SERVER_RPC_RECEPTION_H_
#define DENOISE_SERVER_RPC_RECEPTION_H_

#include <cstdint>

#include "absl/status/status.h"
#include "grpcpp/server_context.h"
#include "server/engine/clock.h"
#include "server/engine/memory_budget.h"
#include "server/metrics/metrics.h"
#include "server/rpc/access/authentication.h"
#include "server/rpc/access/receive_limit.h"
#include "server/rpc/access/received_bytes.h"
#include "server/rpc/call_record.h"
#include "server/rpc/messages/message_reader.h"

namespace denoise {

// Thread-safe. Outlives the gRPC server, and what it is given outlives it.
class Reception {
 public:
  struct Options {
    const Authenticator* authenticator = nullptr;
    Scope scope = Scope::kInfer;  // that its calls need
    uint64_t max_message_bytes = 64 << 20;
    uint64_t max_receive_bytes = 64 << 20;  // of messages that are being received
    MemoryBudget* memory = nullptr;
    Metrics* metrics = nullptr;
    const Clock* clock = nullptr;
  };
  explicit Reception(const Options& options);

  // The record of a call that has just come, with its id and trace.
  CallRecord NewRecord(const char* method) const;

  // Whether the call may go on: before anything of its message is taken in. Gives the record its
  // id, trace and caller.
  absl::Status CheckCaller(const grpc::CallbackServerContext& context, CallRecord* record) const;

  ReceiveLimit* receiving() { return &receiving_; }
  MessageReader* messages() { return &messages_; }

  // Why no message came of a call that has ended or is over: its caller cancelled, its deadline
  // passed, or it sent none.
  absl::Status WhyNoMessage(const grpc::CallbackServerContext& context) const;

  // A call's end, in metrics and log.
  void Record(const CallRecord& record, const absl::Status& status) const;
  // The same of a call that came to nothing: turned away, unless it was its caller who left.
  void RecordRefused(const CallRecord& record, const absl::Status& status) const;

 private:
  const Options options_;
  MessageReader messages_;
  ReceivedBytes received_;
  ReceiveLimit receiving_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_RECEPTION_H_
