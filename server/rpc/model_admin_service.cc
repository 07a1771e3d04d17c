#include "server/rpc/model_admin_service.h"

#include <atomic>
#include <memory>
#include <utility>

#include "server/rpc/call_metadata.h"
#include "server/rpc/messages/model_proto.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

// One call. What it answers comes from another thread, or from gRPC where the caller goes first:
// whoever takes the reactor out of `unanswered` finishes the call, and until then it lives.
class AdminReactor final : public grpc::ServerUnaryReactor {
 public:
  AdminReactor(CallRecord record, v1::Model* response, Metrics* metrics, const Clock* clock)
      : record_(std::move(record)),
        response_(response),
        metrics_(metrics),
        clock_(clock),
        unanswered_(std::make_shared<std::atomic<AdminReactor*>>(this)) {}

  ModelLifecycle::Done done() {
    return [unanswered = unanswered_](const absl::StatusOr<CatalogEntry>& entry) {
      if (AdminReactor* reactor = unanswered->exchange(nullptr)) reactor->Answer(entry);
    };
  }

  void OnCancel() override {
    if (unanswered_->exchange(nullptr) == nullptr) return;
    Answer(absl::CancelledError("the caller does not wait any longer; the operation goes on"));
  }

  void OnDone() override { delete this; }

 private:
  void Answer(const absl::StatusOr<CatalogEntry>& entry) {
    if (entry.ok()) {
      record_.model = entry->model->name;
      if (response_ != nullptr) EncodeModel(*entry, response_);
    }
    RecordCall(record_, entry.status(), clock_->Now(), metrics_);
    Finish(ToGrpc(entry.status()));
  }

  CallRecord record_;
  v1::Model* const response_;
  Metrics* const metrics_;
  const Clock* const clock_;
  const std::shared_ptr<std::atomic<AdminReactor*>> unanswered_;
};

}  // namespace

grpc::ServerUnaryReactor* ModelAdminService::Run(const char* method, Operation operation,
                                                 grpc::CallbackServerContext* context,
                                                 const std::string& model, int64_t version,
                                                 v1::Model* response) {
  CallRecord record;
  record.method = method;
  record.arrival = clock_->Now();
  const absl::Status identified = Identify(*context, &record);
  auto* reactor = new AdminReactor(std::move(record), response, metrics_, clock_);
  const ModelLifecycle::Done done = reactor->done();
  if (!identified.ok()) {
    done(identified);
  } else {
    (models_->*operation)(model, version, done);
  }
  return reactor;
}

grpc::ServerUnaryReactor* ModelAdminService::LoadModel(grpc::CallbackServerContext* context,
                                                       const v1::LoadModelRequest* request,
                                                       v1::Model* response) {
  return Run("LoadModel", &ModelLifecycle::Load, context, request->model(),
             request->model_version(), response);
}

grpc::ServerUnaryReactor* ModelAdminService::UnloadModel(grpc::CallbackServerContext* context,
                                                         const v1::UnloadModelRequest* request,
                                                         v1::UnloadModelResponse* response) {
  return Run("UnloadModel", &ModelLifecycle::Unload, context, request->model(),
             request->model_version(), nullptr);
}

grpc::ServerUnaryReactor* ModelAdminService::ReloadModel(grpc::CallbackServerContext* context,
                                                         const v1::ReloadModelRequest* request,
                                                         v1::Model* response) {
  return Run("ReloadModel", &ModelLifecycle::Reload, context, request->model(),
             request->model_version(), response);
}

}  // namespace denoise
