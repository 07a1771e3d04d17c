// A streaming call, read by a thread that waits.
#ifndef DENOISE_CLIENT_SRC_EVENT_SOURCE_H_
#define DENOISE_CLIENT_SRC_EVENT_SOURCE_H_

#include <memory>
#include <optional>
#include <utility>

#include "client/src/mutex.h"
#include "denoise/stream.h"

namespace denoise {
inline namespace client_v1 {

// One event at a time is read ahead; gRPC's flow control holds up the rest.
template <typename Call, typename E>
class WaitingSource final : public EventSource<E> {
  // Shared with the call, which may outlive its reader.
  struct Slot {
    Mutex mutex;
    CondVar changed;
    std::optional<E> event ABSL_GUARDED_BY(mutex);  // no read is outstanding while it is here
    std::optional<absl::Status> end ABSL_GUARDED_BY(mutex);
    bool abandoned ABSL_GUARDED_BY(mutex) = false;

    void Put(Call* call, E e) {
      {
        MutexLock lock(&mutex);
        if (!abandoned) {
          event = std::move(e);
          changed.NotifyAll();
          return;
        }
      }
      call->Release();
    }
    void End(absl::Status status) {
      MutexLock lock(&mutex);
      end = std::move(status);
      changed.NotifyAll();
    }
  };

 public:
  // `start(request, decoder…)` is left to the caller: make_call gets the two callbacks and gives a
  // call that has been started.
  template <typename MakeCall>
  explicit WaitingSource(MakeCall make_call)
      : slot_(std::make_shared<Slot>()),
        call_(make_call([slot = slot_](Call* call, E event) { slot->Put(call, std::move(event)); },
                        [slot = slot_](absl::Status status) { slot->End(std::move(status)); })) {}

  ~WaitingSource() override {
    bool held;
    {
      MutexLock lock(&slot_->mutex);
      slot_->abandoned = true;
      held = slot_->event.has_value();
      slot_->event.reset();
    }
    if (held) {
      call_->Release();
    } else {
      call_->Cancel();
    }
  }

  std::optional<absl::StatusOr<E>> Next() override {
    std::optional<E> event;
    {
      MutexLock lock(&slot_->mutex);
      while (!slot_->event && !slot_->end) slot_->changed.Wait(&slot_->mutex);
      if (!slot_->event) {
        if (slot_->end->ok()) return std::nullopt;
        return *slot_->end;
      }
      event = std::exchange(slot_->event, std::nullopt);
    }
    call_->ReadNext();
    return *std::move(event);
  }

  void Cancel() override { call_->Cancel(); }

 private:
  const std::shared_ptr<Slot> slot_;
  const std::shared_ptr<Call> call_;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_CLIENT_SRC_EVENT_SOURCE_H_
