// A reader of an event stream that waits.
#ifndef DENOISE_TESTS_UNIT_ENGINE_READER_H_
#define DENOISE_TESTS_UNIT_ENGINE_READER_H_

#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "server/engine/event_stream.h"

namespace denoise {

class Reader {
 public:
  explicit Reader(EventStream* stream) : stream_(stream) {
    stream_->OnReady([state = state_] {
      MutexLock lock(state->mutex);
      state->ready = true;
      state->condition.SignalAll();
    });
  }

  StreamEvent Next() {
    while (true) {
      if (auto event = stream_->Take()) return *std::move(event);
      MutexLock lock(state_->mutex);
      while (!state_->ready) state_->condition.Wait(state_->mutex);
      state_->ready = false;
    }
  }

  // Reads to the end: the terminal event.
  StreamEvent End() {
    StreamEvent event = Next();
    while (std::holds_alternative<StateEvent>(event) || std::holds_alternative<TermEvent>(event)) {
      event = Next();
    }
    return event;
  }

  // The same, with the states before it.
  std::pair<std::vector<StateEvent>, StreamEvent> All() {
    std::vector<StateEvent> states;
    while (true) {
      StreamEvent event = Next();
      if (auto* state = std::get_if<StateEvent>(&event)) {
        states.push_back(std::move(*state));
      } else {
        return {std::move(states), std::move(event)};
      }
    }
  }

 private:
  struct State {
    Mutex mutex;
    CondVar condition;
    bool ready ABSL_GUARDED_BY(mutex) = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  EventStream* const stream_;
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_ENGINE_READER_H_
