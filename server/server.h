// The whole service: models, engines, gRPC, metrics, put together and taken apart in the right
// order.
#ifndef DENOISE_SERVER_SERVER_H_
#define DENOISE_SERVER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/flags.h"

namespace denoise {

// Not thread-safe: made, drained and destroyed by one thread.
class Server {
 public:
  // Loads and examines the models, warms every batch size, opens the ports. When this returns OK
  // the server is SERVING. An error is one line for the operator, saying what was wrong and what
  // would be right.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Flags& flags);

  // Stops as Drain(now) does.
  ~Server();

  // "denoised: ready grpc=HOST:PORT metrics=HOST:PORT model=NAME…", with the ports that were really
  // opened.
  std::string ready_line() const;

  // From now on health says NOT_SERVING and new calls are UNAVAILABLE; running ones go on.
  void StopAdmitting();
  // Calls still running.
  int calls_in_flight() const;
  // Ends what still runs with UNAVAILABLE and closes the ports.
  void Stop();

 private:
  struct Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace denoise

#endif  // DENOISE_SERVER_SERVER_H_
