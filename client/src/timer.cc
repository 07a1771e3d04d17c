#include "client/src/timer.h"

#include <utility>

#include "absl/time/clock.h"
#include "client/src/reaper.h"
#include "grpcpp/alarm.h"

namespace denoise {
inline namespace client_v1 {
namespace {

class GrpcPending final : public Timer::Pending, public std::enable_shared_from_this<GrpcPending> {
 public:
  void Start(absl::Duration delay, Timer::Alarm alarm) {
    alarm_.Set(absl::ToChronoTime(absl::Now() + delay),
               [self = shared_from_this(), alarm = std::move(alarm)](bool due) mutable {
                 // What the alarm holds may be the last to hold a channel.
                 const Reaction reaction;
                 std::exchange(alarm, nullptr)(due);
               });
  }
  void Cancel() override { alarm_.Cancel(); }

 private:
  grpc::Alarm alarm_;
};

class GrpcTimer final : public Timer {
 public:
  absl::Time Now() const override { return absl::Now(); }
  std::shared_ptr<Pending> Start(absl::Duration delay, Alarm alarm) override {
    auto pending = std::make_shared<GrpcPending>();
    pending->Start(delay, std::move(alarm));
    return pending;
  }
};

}  // namespace

std::shared_ptr<Timer> SystemTimer() { return std::make_shared<GrpcTimer>(); }

}  // namespace client_v1
}  // namespace denoise
