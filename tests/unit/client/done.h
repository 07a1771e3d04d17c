// How a test waits for the end of a call.
#ifndef DENOISE_TESTS_UNIT_CLIENT_DONE_H_
#define DENOISE_TESTS_UNIT_CLIENT_DONE_H_

#include <chrono>
#include <functional>
#include <future>

#include "absl/status/status.h"

namespace denoise {

inline constexpr auto kPatience = std::chrono::seconds(30);

// What on_done of an asynchronous call says.
class Done {
 public:
  std::function<void(absl::Status)> Hear() {
    return [this](const absl::Status& status) { said_.set_value(status); };
  }
  bool IsReady() const {
    return future_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  // UNKNOWN if it says nothing.
  absl::Status Wait() {
    if (future_.wait_for(kPatience) != std::future_status::ready)
      return absl::UnknownError("hangs");
    return future_.get();
  }

 private:
  std::promise<absl::Status> said_;
  std::future<absl::Status> future_ = said_.get_future();
};

}  // namespace denoise

#endif  // DENOISE_TESTS_UNIT_CLIENT_DONE_H_
