#include "server/rpc/model_admin_service.h"

#include <atomic>
#include <memory>
#include <utility>

#include "denoise/v1/diffusion.grpc.pb.h"
#include "server/rpc/message_call.h"
#include "server/rpc/messages/model_proto.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

using Operation = void (ModelLifecycle::*)(const std::string&, int64_t, ModelLifecycle::Done);

void Encode(const CatalogEntry& entry, v1::Model* response) { EncodeModel(entry, response); }
void Encode(const CatalogEntry&, v1::UnloadModelResponse*) {}

// One call. What it answers comes from another thread, or from gRPC where the caller goes first:
// whoever takes the call out of `unanswered_` finishes it, and until then it lives.
template <typename Message, typename Response>
class AdminCall final : public MessageCall<Message> {
 public:
  static RawReactor* Start(ModelLifecycle* models, Operation operation, Reception* reception,
                           grpc::CallbackServerContext* context, const char* method) {
    auto* call = new AdminCall(models, operation, reception, context, method);
    const absl::Status allowed = reception->CheckCaller(*context, &call->record_);
    if (allowed.ok()) {
      call->Receive();
    } else {
      call->OnNoMessage(allowed);
    }
    return call;
  }

  void OnCancel() override {
    if (unanswered_->exchange(nullptr) == nullptr) return;
    Answer(absl::CancelledError("the caller does not wait any longer; the operation goes on"));
  }

  void OnDone() override { delete this; }

 private:
  AdminCall(ModelLifecycle* models, Operation operation, Reception* reception,
            grpc::CallbackServerContext* context, const char* method)
      : MessageCall<Message>(reception, context),
        models_(models),
        operation_(operation),
        reception_(reception),
        record_(reception->NewRecord(method)) {}

  void OnMessage(const Message& message) override {
    unanswered_->store(this);
    const auto done = [unanswered = unanswered_](const absl::StatusOr<CatalogEntry>& entry) {
      if (AdminCall* call = unanswered->exchange(nullptr)) call->Answer(entry);
    };
    // Of a copy: the call may be over before this returns.
    (models_->*operation_)(std::string(message.model()), message.model_version(), done);
  }

  void OnNoMessage(absl::Status why) override {
    reception_->RecordRefused(record_, why);
    this->Finish(ToGrpc(why));
  }

  void Answer(const absl::StatusOr<CatalogEntry>& entry) {
    if (entry.ok()) record_.model = entry->model->name;
    reception_->Record(record_, entry.status());
    if (entry.ok()) {
      Response response;
      Encode(*entry, &response);
      answer_ = ToBytes(response);
      this->StartWriteAndFinish(&answer_, grpc::WriteOptions(), grpc::Status::OK);
    } else {
      this->Finish(ToGrpc(entry.status()));
    }
  }

  ModelLifecycle* const models_;
  const Operation operation_;
  Reception* const reception_;
  CallRecord record_;
  grpc::ByteBuffer answer_;
  // Null before there is a message, and once it is answered.
  const std::shared_ptr<std::atomic<AdminCall*>> unanswered_ =
      std::make_shared<std::atomic<AdminCall*>>(nullptr);
};

}  // namespace

ModelAdminService::ModelAdminService(ModelLifecycle* models, Reception* reception)
    : RawService(v1::ModelAdmin::service_full_name()) {
  Serve("LoadModel", [=](grpc::CallbackServerContext* context) {
    return AdminCall<v1::LoadModelRequest, v1::Model>::Start(models, &ModelLifecycle::Load,
                                                             reception, context, "LoadModel");
  });
  Serve("UnloadModel", [=](grpc::CallbackServerContext* context) {
    return AdminCall<v1::UnloadModelRequest, v1::UnloadModelResponse>::Start(
        models, &ModelLifecycle::Unload, reception, context, "UnloadModel");
  });
  Serve("ReloadModel", [=](grpc::CallbackServerContext* context) {
    return AdminCall<v1::ReloadModelRequest, v1::Model>::Start(models, &ModelLifecycle::Reload,
                                                               reception, context, "ReloadModel");
  });
}

}  // namespace denoise
