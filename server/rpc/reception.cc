#include "server/rpc/reception.h"

#include "server/diffusion/field_error.h"
#include "server/rpc/call_metadata.h"

namespace denoise {

Reception::Reception(const Options& options)
    : options_(options),
      messages_(options.max_message_bytes, options.memory),
      receiving_({.max_bytes = options.max_receive_bytes,
                  .received = [this](const std::string& peer) { return received_.From(peer); },
                  .refresh = [this] { received_.Refresh(); },
                  .held = [this] { return messages_.held_bytes(); },
                  .clock = options.clock}) {}

CallRecord Reception::NewRecord(const char* method) const {
  CallRecord record;
  record.method = method;
  record.arrival = options_.clock->Now();
  return record;
}

absl::Status Reception::CheckCaller(const grpc::CallbackServerContext& context,
                                    CallRecord* record) const {
  if (absl::Status status = Identify(context, record); !status.ok()) return status;
  return options_.authenticator->Authenticate(context, options_.scope, &record->caller);
}

absl::Status Reception::WhyNoMessage(const grpc::CallbackServerContext& context) const {
  if (!context.IsCancelled()) return FieldError("message", "there is none; send one");
  const SteadyTime now = options_.clock->Now();
  return CancelledStatus(DeadlineOf(context, now), now);
}

void Reception::Record(const CallRecord& record, const absl::Status& status) const {
  RecordCall(record, status, options_.clock->Now(), options_.metrics);
}

void Reception::RecordRefused(const CallRecord& record, const absl::Status& status) const {
  if (!absl::IsCancelled(status)) RecordRejection(status, options_.metrics);
  Record(record, status);
}

}  // namespace denoise
