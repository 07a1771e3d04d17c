#include "client/cli/admin_command.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/describe_model.h"
#include "client/cli/exit_codes.h"

namespace denoise::cli {
namespace {

using Operation = AdminFlags::Operation;

// gRPC's message for a missing service says no more than that.
absl::Status WithFix(absl::Status status, const AdminFlags& flags) {
  if (!absl::IsUnimplemented(status)) return status;
  return absl::UnimplementedError(
      absl::StrCat("no ModelAdmin at ", flags.server.address,
                   ": it has a port of its own, denoised --admin-listen; name that by --address or "
                   "DENOISE_ADMIN_ADDRESS"));
}

}  // namespace

absl::StatusOr<AdminClient> Connect(const AdminFlags& flags) {
  const auto options = ClientOptionsOf(flags.server);
  if (!options.ok()) return options.status();
  auto admin = AdminClient::Connect(flags.server.address, *options);
  if (absl::IsUnavailable(admin.status())) {
    return absl::UnavailableError(absl::StrCat(
        std::string(admin.status().message()),
        " (is denoised running there, with --admin-listen? name another server by --address or "
        "DENOISE_ADMIN_ADDRESS)"));
  }
  return admin;
}

int RunAdmin(const AdminFlags& flags, AdminClient& admin, Console& console) {
  CallOptions options;
  options.request_id = flags.server.request_id;
  if (flags.operation == Operation::kUnload) {
    const absl::Status status = admin.UnloadModel(flags.model, flags.version, options);
    if (!status.ok()) return console.Fail(WithFix(status, flags));
    console.Say(absl::StrCat(flags.model, " is unloaded"));
    if (console.json) console.Write({{"unloaded", flags.model}});
    return EX_OK;
  }
  const auto model = flags.operation == Operation::kLoad
                         ? admin.LoadModel(flags.model, flags.version, options)
                         : admin.ReloadModel(flags.model, flags.version, options);
  if (!model.ok()) return console.Fail(WithFix(model.status(), flags));
  console.Say(Describe(*model));
  if (console.json) console.Write({{"model", ToJson(*model)}});
  return EX_OK;
}

}  // namespace denoise::cli
