#include "server/rpc/admission.h"

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/diffusion/field_error.h"
#include "server/engine/event_stream.h"
#include "server/engine/tenants.h"
#include "server/engine/wait_estimate.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

// Of the least time that a request is expected to take: speeds vary by that much.
constexpr double kTrusted = 0.8;

// Refused only where it cannot be: neither what may end early nor what it may pass is counted.
absl::Status CheckDeadline(const Backend& backend, const Request& request) {
  if (!request.deadline.has_value()) return absl::OkStatus();
  const ModelInfo& model = *request.model;
  const absl::Duration left = absl::FromChrono(*request.deadline - backend.clock->Now());
  LeastWork work;
  work.rows = request.num_samples * request.rows_per_chain();
  // Terms do not depend on each other.
  if (request.evaluation == nullptr) work.calls = request.denoiser_calls_per_chain();
  work.rows_before = backend.queue->RowsBefore(request, CallsIn(model, left));
  const absl::Duration least = LeastTimeFor(model, work);
  if (least * kTrusted <= left) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      request.deadline_is_limit ? "the longest call of this caller ends in "
                                : "the deadline is in ",
      absl::FormatDuration(absl::Trunc(left, absl::Milliseconds(1))), ", and the end is at least ",
      absl::FormatDuration(absl::Ceil(least, absl::Milliseconds(1))),
      " away: ", request.deadline_is_limit ? "" : "allow more time, ",
      "ask for fewer steps or samples, or retry later"));
}

// Of all that the request will need until its Result is read, so that what is admitted can end.
absl::Status ReserveMemory(MemoryBudget* memory, Reading reading, Request* request) {
  const uint64_t data = request->data_bytes();
  const uint64_t result = reading == Reading::kLosesStates ? request->result_bytes() : 0;
  if (memory->limit() > 0 && data + result > memory->limit()) {
    return FieldError(
        "num_samples",
        absl::StrCat("the request's ", request->num_samples, " samples and what it brings need ",
                     data + result, " bytes at once, and ", memory->limit(),
                     " are there for all requests (--memory-budget): send fewer samples, smaller "
                     "conditions or images, or run the server with more memory"));
  }
  auto for_data = memory->Reserve(MemoryBudget::kRequests, data);
  if (!for_data.ok()) return for_data.status();
  auto for_result = memory->Reserve(MemoryBudget::kResults, result);
  if (!for_result.ok()) return for_result.status();
  using Reservation = const MemoryBudget::Reservation;
  request->data_memory = std::make_shared<Reservation>(*std::move(for_data));
  request->result_memory = std::make_shared<Reservation>(*std::move(for_result));
  return absl::OkStatus();
}

// With the time to retry after.
absl::Status WithDelay(absl::Status full, const Backend& backend, const ModelInfo& model) {
  const uint64_t rows = backend.queue->rows_waiting() + backend.rows_ahead();
  return WithRetryDelay(std::move(full),
                        RetryDelay(model, rows, backend.queue->requests_waiting()));
}

}  // namespace

absl::StatusOr<WaitingQueue::Place> Admit(const Backend& backend,
                                          const std::shared_ptr<Request>& request, Reading reading,
                                          std::function<void()> on_ready) {
  const ModelInfo& model = *request->model;
  if (request->deadline.has_value() && *request->deadline <= backend.clock->Now()) {
    return absl::DeadlineExceededError("the deadline had passed when the request arrived");
  }
  if (absl::Status status = CheckDeadline(backend, *request); !status.ok()) {
    return WithDelay(WithReason(std::move(status), kDeadlineUnreachable), backend, model);
  }
  if (absl::Status status = ReserveMemory(backend.memory, reading, request.get()); !status.ok()) {
    if (!absl::IsResourceExhausted(status)) return status;
    return WithDelay(WithReason(std::move(status), kMemoryFull), backend, model);
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
  const std::optional<absl::Duration> quota = QuotaDelayOf(place.status());
  absl::Status full = WithReason(place.status(), quota.has_value() ? kQuotaExceeded : kQueueFull);
  if (quota.value_or(absl::ZeroDuration()) > absl::ZeroDuration()) {
    return WithRetryDelay(std::move(full), *quota);
  }
  return WithDelay(std::move(full), backend, model);
}

}  // namespace denoise
