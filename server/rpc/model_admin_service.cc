#include "server/rpc/model_admin_service.h"

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "denoise/v1/diffusion.grpc.pb.h"
#include "server/log/log.h"
#include "server/rpc/message_call.h"
#include "server/rpc/messages/model_proto.h"
#include "server/rpc/messages/text.h"
#include "server/rpc/status.h"

namespace denoise {
namespace {

using Operation = void (ModelLifecycle::*)(const std::string&, int64_t, ModelLifecycle::Done);

// What operations have in common.
struct AdminContext {
  ModelAdminService::Options options;
  std::shared_ptr<std::atomic<int>> operations;
};

// An operation, as the log tells of it.
struct Audit {
  CallRecord record;
  std::string peer;
  std::string model;
  int64_t version = 0;
  const Clock* clock = nullptr;

  void Write(const absl::Status& status) const {
    std::vector<LogField> fields = {{"id", record.id},
                                    {"principal", record.caller.name},
                                    {"peer", peer},
                                    {"method", record.method},
                                    {"model", OneLine(model, 128)},
                                    {"version", version},
                                    {"code", CodeName(status)},
                                    {"seconds", SecondsBetween(record.arrival, clock->Now())}};
    if (!status.ok()) fields.push_back({"error", MessageOf(status)});
    LogEvent(status.ok() ? spdlog::level::info : spdlog::level::warn, "admin", fields);
  }
};

void Encode(const CatalogEntry& entry, v1::Model* response) { EncodeModel(entry, response); }
void Encode(const CatalogEntry&, v1::UnloadModelResponse*) {}

// One call. What it answers comes from another thread, or from gRPC where the caller goes first:
// whoever takes the call out of `unanswered_` finishes it, and until then it lives.
template <typename Message, typename Response>
class AdminCall final : public MessageCall<Message> {
 public:
  static RawReactor* Start(const AdminContext& admin, Operation operation,
                           grpc::CallbackServerContext* context, const char* method) {
    auto* call = new AdminCall(admin, operation, context, method);
    const absl::Status allowed = admin.options.reception->CheckCaller(*context, &call->record_);
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
  AdminCall(const AdminContext& admin, Operation operation, grpc::CallbackServerContext* context,
            const char* method)
      : MessageCall<Message>(admin.options.reception, context),
        admin_(admin),
        operation_(operation),
        reception_(admin.options.reception),
        peer_(context->peer()),
        record_(reception_->NewRecord(method)) {}

  void OnMessage(const Message& message) override {
    // Copies, also of the message: the call may be over before this returns.
    const Audit audit = {record_, peer_, std::string(message.model()), message.model_version(),
                         admin_.options.clock};
    if (admin_.operations->fetch_add(1) >= admin_.options.max_operations) {
      admin_.operations->fetch_sub(1);
      Refuse(audit,
             WithReason(absl::ResourceExhaustedError(absl::StrCat(
                            admin_.options.max_operations,
                            " operations have not ended, and no more may wait: retry later")),
                        kQueueFull));
      return;
    }
    unanswered_->store(this);
    (admin_.options.models->*operation_)(
        audit.model, audit.version,
        [audit, unanswered = unanswered_,
         operations = admin_.operations](const absl::StatusOr<CatalogEntry>& entry) {
          operations->fetch_sub(1);
          audit.Write(entry.status());
          if (AdminCall* call = unanswered->exchange(nullptr)) call->Answer(entry);
        });
  }

  void OnNoMessage(absl::Status why) override {
    Refuse({record_, peer_, "", 0, admin_.options.clock}, why);
  }

  // Strangers' calls have a line too, as all calls that are refused, but not one each.
  void Refuse(const Audit& audit, const absl::Status& why) {
    if (!absl::IsUnauthenticated(why)) audit.Write(why);
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

  const AdminContext admin_;
  const Operation operation_;
  Reception* const reception_;
  const std::string peer_;
  CallRecord record_;
  grpc::ByteBuffer answer_;
  // Null before there is a message, and once it is answered.
  const std::shared_ptr<std::atomic<AdminCall*>> unanswered_ =
      std::make_shared<std::atomic<AdminCall*>>(nullptr);
};

}  // namespace

ModelAdminService::ModelAdminService(const Options& options)
    : RawService(v1::ModelAdmin::service_full_name()) {
  const AdminContext admin = {options, operations_};
  Serve("LoadModel", [admin](grpc::CallbackServerContext* context) {
    return AdminCall<v1::LoadModelRequest, v1::Model>::Start(admin, &ModelLifecycle::Load, context,
                                                             "LoadModel");
  });
  Serve("UnloadModel", [admin](grpc::CallbackServerContext* context) {
    return AdminCall<v1::UnloadModelRequest, v1::UnloadModelResponse>::Start(
        admin, &ModelLifecycle::Unload, context, "UnloadModel");
  });
  Serve("ReloadModel", [admin](grpc::CallbackServerContext* context) {
    return AdminCall<v1::ReloadModelRequest, v1::Model>::Start(admin, &ModelLifecycle::Reload,
                                                               context, "ReloadModel");
  });
}

}  // namespace denoise
