// A call that reports by callbacks.
#ifndef DENOISE_ASYNC_CALL_H_
#define DENOISE_ASYNC_CALL_H_

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "denoise/types.h"

namespace denoise {
inline namespace client_v1 {

// Called one at a time and in order, on a thread of the library's, never within the call that was
// given them. The next event is read when on_event has returned, so a slow one slows the stream
// down and then loses states (Result::states_dropped). Neither may block for long or throw.
template <typename E>
struct Callbacks {
  std::function<void(E)> on_event;
  // Once, after everything else: OK if the last event was there, a Result or a Likelihood. The
  // callbacks are destroyed afterwards.
  std::function<void(absl::Status)> on_done;
  // In place of on_event, for those that read slowly without a thread that waits: the next event is
  // read when `next` has been called, which must be once for each event, also after a Cancel(),
  // then or later and on any thread; the call does not end before.
  std::function<void(E, std::function<void()> next)> on_event_paced = {};
};

using SampleCallbacks = Callbacks<Event>;
using EvaluateCallbacks = Callbacks<EvaluateEvent>;

// Implemented by connections.
class AsyncCallControl {
 public:
  virtual ~AsyncCallControl() = default;
  virtual void Cancel() = 0;
};

// A handle of a running call. The call owns itself: it goes on without its handle, and a handle may
// outlive it. Thread-safe.
class AsyncCall {
 public:
  explicit AsyncCall(std::shared_ptr<AsyncCallControl> control) : control_(std::move(control)) {}

  // Ends the call, on the server too: on_done(CANCELLED) follows, unless it has ended. Also from
  // within a callback.
  void Cancel() const {
    if (control_ != nullptr) control_->Cancel();
  }

 private:
  std::shared_ptr<AsyncCallControl> control_;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_ASYNC_CALL_H_
