#include "server/rpc/admission.h"

#include <utility>

#include "absl/status/status.h"
#include "server/engine/event_stream.h"
#include "server/rpc/status.h"
#include "server/rpc/wait_estimate.h"

namespace denoise {

absl::StatusOr<WaitingQueue::Place> Admit(const Backend& backend,
                                          const std::shared_ptr<Request>& request, Reading reading,
                                          std::function<void()> on_ready) {
  if (request->deadline.has_value() && *request->deadline <= backend.clock->Now()) {
    return absl::DeadlineExceededError("the deadline had passed when the request arrived");
  }
  EventStream::Options options;
  options.num_samples = request->num_samples;
  options.values_per_sample = request->values_per_result();
  options.keep_samples = reading == Reading::kLosesStates;
  options.lossless = reading == Reading::kHoldsChains;
  options.max_pending_bytes = backend.limits.max_state_bytes;
  options.arrival = request->arrival;
  request->stream = std::make_shared<EventStream>(options, backend.clock);
  request->stream->OnReady(std::move(on_ready));
  request->stream->OnCancel(backend.wake_engines);
  request->stream->OnRoom(backend.wake_engines);

  absl::StatusOr<WaitingQueue::Place> place = backend.queue->TryPush(request);
  if (place.ok() || !absl::IsResourceExhausted(place.status())) return place;
  const uint64_t rows = backend.queue->rows_waiting() + backend.rows_ahead();
  return WithRetryDelay(WithReason(place.status(), kQueueFull),
                        RetryDelay(*request->model, rows, backend.queue->requests_waiting()));
}

}  // namespace denoise
