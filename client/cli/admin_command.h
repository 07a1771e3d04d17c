// denoise admin
#ifndef DENOISE_CLIENT_CLI_ADMIN_COMMAND_H_
#define DENOISE_CLIENT_CLI_ADMIN_COMMAND_H_

#include <cstdint>
#include <string>

#include "client/cli/console.h"
#include "client/cli/flags/common_flags.h"
#include "denoise/admin_client.h"

namespace denoise::cli {

struct AdminFlags {
  enum class Operation { kLoad, kUnload, kReload };

  ServerFlags server{.address = "127.0.0.1:8502"};
  Operation operation = Operation::kLoad;
  std::string model;
  int64_t version = 0;
};

void AddAdminFlags(CLI::App* app, AdminFlags* flags);

absl::StatusOr<AdminClient> Connect(const AdminFlags& flags);

// Does the operation, and prints the model. Returns the exit code.
int RunAdmin(const AdminFlags& flags, AdminClient& admin, Console& console);

}  // namespace denoise::cli

#endif  // DENOISE_CLIENT_CLI_ADMIN_COMMAND_H_
