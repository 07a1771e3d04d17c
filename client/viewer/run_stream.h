// One run: a call to the server, and its events as Server-Sent Events.
#ifndef DENOISE_CLIENT_VIEWER_RUN_STREAM_H_
#define DENOISE_CLIENT_VIEWER_RUN_STREAM_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "client/viewer/request.h"
#include "denoise/client.h"

namespace denoise::viewer {

// Reads a call's events on a thread of its own, a few ahead of who takes them: a page that takes
// them slowly slows the call down, which then loses states and not memory. The last event is a
// result, a likelihood, or an error. Thread-safe.
class RunStream {
 public:
  RunStream(Client client, RunRequest request);
  // Cancels the call, on the server too, unless it has ended.
  ~RunStream();
  RunStream(const RunStream&) = delete;
  RunStream& operator=(const RunStream&) = delete;

  enum class Took { kEvents, kNothingYet, kEnd };
  // Puts what has come, as text of Server-Sent Events, into `text`; waits for at most `patience`.
  Took Take(absl::Duration patience, std::string* text);

 private:
  void Read();
  template <typename S>
  void Follow(S stream);
  void Push(std::string event);

  Client client_;
  const RunRequest request_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> events_;
  std::function<void()> cancel_;  // while a call runs
  bool cancelled_ = false;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace denoise::viewer

#endif  // DENOISE_CLIENT_VIEWER_RUN_STREAM_H_
