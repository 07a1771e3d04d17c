// The way of a checked request into the waiting queue.
#ifndef DENOISE_SERVER_RPC_ADMISSION_H_
#define DENOISE_SERVER_RPC_ADMISSION_H_

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "server/engine/request.h"
#include "server/engine/waiting_queue.h"
#include "server/rpc/backend.h"

namespace denoise {

// What a slow reader does to its request.
enum class Reading {
  kLosesStates,  // older states are left out; the samples are there in the end
  kHoldsChains,  // nothing is left out: what is streamed is the answer
};

// Makes the request's stream, of which `on_ready` is told (EventStream::OnReady), and queues it;
// where it stands. `request` is complete but for its stream; it may be run, and `on_ready` called,
// before this returns. Never blocks. DEADLINE_EXCEEDED where its deadline has passed,
// RESOURCE_EXHAUSTED with RetryInfo (QUEUE_FULL, QUOTA_EXCEEDED, MEMORY_FULL,
// DEADLINE_UNREACHABLE), a FieldError where it needs more memory than there is, PERMISSION_DENIED
// where it brings more than its tenant may, UNAVAILABLE while draining.
absl::StatusOr<WaitingQueue::Place> Admit(const Backend& backend,
                                          const std::shared_ptr<Request>& request, Reading reading,
                                          std::function<void()> on_ready);

}  // namespace denoise

#endif  // DENOISE_SERVER_RPC_ADMISSION_H_
