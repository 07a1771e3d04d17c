#include "server/rpc/health_service.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/rpc/message_call.h"
#include "server/rpc/messages/text.h"
#include "server/rpc/status.h"

namespace denoise {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class HealthService::CheckCall final : public MessageCall<HealthCheckRequest> {
 public:
  static RawReactor* Start(const HealthService* service, Reception* reception,
                           const grpc::CallbackServerContext* context) {
    auto* call = new CheckCall(service, reception, context);
    call->Receive();
    return call;
  }

 private:
  CheckCall(const HealthService* service, Reception* reception,
            const grpc::CallbackServerContext* context)
      : MessageCall(reception, context), service_(service) {}

  void OnMessage(const HealthCheckRequest& message) override {
    HealthCheckResponse response;
    {
      MutexLock lock(service_->mutex_);
      response.set_status(service_->StatusOf(message.service()));
    }
    if (response.status() == HealthCheckResponse::SERVICE_UNKNOWN) {
      OnNoMessage(absl::NotFoundError(
          absl::StrCat("service: ", Quote(message.service()), " is no model that is served here")));
      return;
    }
    answer_ = ToBytes(response);
    StartWriteAndFinish(&answer_, grpc::WriteOptions(), grpc::Status::OK);
  }
  void OnNoMessage(absl::Status why) override { Finish(ToGrpc(why)); }
  void OnDone() override { delete this; }

  const HealthService* const service_;
  grpc::ByteBuffer answer_;
};

// Writes the status when it changes, one write in flight; of several changes meanwhile, the last.
class HealthService::WatchCall final : public MessageCall<HealthCheckRequest> {
 public:
  static RawReactor* Start(HealthService* service, Reception* reception,
                           const grpc::CallbackServerContext* context) {
    auto* call = new WatchCall(service, reception, context);
    call->Receive();
    return call;
  }

  void Tell(Status status) {
    MutexLock lock(mutex_);
    next_ = status;
    if (!writing_) Write();
  }

 private:
  WatchCall(HealthService* service, Reception* reception,
            const grpc::CallbackServerContext* context)
      : MessageCall(reception, context), service_(service) {}

  void OnMessage(const HealthCheckRequest& message) override {
    name_ = message.service();
    bool cancelled;
    {
      MutexLock lock(service_->mutex_);
      service_->watches_[name_].insert(this);
      Tell(service_->StatusOf(name_));
    }
    {
      MutexLock lock(mutex_);
      watching_ = true;
      cancelled = cancelled_;
    }
    if (cancelled) End(absl::CancelledError("the caller cancelled, or is gone"));
  }

  void OnNoMessage(absl::Status why) override { End(std::move(why)); }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    if (ok) Write();
  }

  void OnCancel() override {
    {
      MutexLock lock(mutex_);
      cancelled_ = true;
      if (!watching_) return;  // OnMessage or OnNoMessage is still to come
    }
    End(absl::CancelledError("the caller cancelled, or is gone"));
  }

  void OnDone() override {
    {
      MutexLock lock(service_->mutex_);
      const auto it = service_->watches_.find(name_);
      if (it != service_->watches_.end()) {
        it->second.erase(this);
        if (it->second.empty()) service_->watches_.erase(it);
      }
    }
    delete this;
  }

  void Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_ || !next_.has_value()) return;
    HealthCheckResponse response;
    response.set_status(*std::exchange(next_, std::nullopt));
    bytes_ = ToBytes(response);
    writing_ = true;
    StartWrite(&bytes_);
  }

  void End(const absl::Status& why) {
    {
      MutexLock lock(mutex_);
      if (std::exchange(finished_, true)) return;
    }
    Finish(ToGrpc(why));
  }

  HealthService* const service_;
  std::string name_;
  grpc::ByteBuffer bytes_;  // of the write in flight

  Mutex mutex_;  // after the service's
  bool watching_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<Status> next_ ABSL_GUARDED_BY(mutex_);
};

HealthService::HealthService(Reception* reception)
    : RawService(grpc::health::v1::Health::service_full_name()) {
  Serve("Check", [=](grpc::CallbackServerContext* context) {
    return CheckCall::Start(this, reception, context);
  });
  Serve("Watch", [=](grpc::CallbackServerContext* context) {
    return WatchCall::Start(this, reception, context);
  });
}

HealthService::Status HealthService::StatusOf(const std::string& name) const {
  const auto it = statuses_.find(name);
  return it != statuses_.end() ? it->second : HealthCheckResponse::SERVICE_UNKNOWN;
}

void HealthService::Set(const std::string& name, Status status) {
  const auto [it, is_new] = statuses_.try_emplace(name, status);
  if (!is_new && it->second == status) return;
  it->second = status;
  const auto watches = watches_.find(name);
  if (watches == watches_.end()) return;
  for (WatchCall* watch : watches->second) watch->Tell(status);
}

void HealthService::Set(const std::string& name, bool serving) {
  MutexLock lock(mutex_);
  if (shut_down_) return;
  Set(name, serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING);
}

void HealthService::Shutdown() {
  MutexLock lock(mutex_);
  shut_down_ = true;
  for (const auto& [name, status] : std::map(statuses_)) {
    Set(name, HealthCheckResponse::NOT_SERVING);
  }
}

}  // namespace denoise
