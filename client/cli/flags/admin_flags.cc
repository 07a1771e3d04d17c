#include <limits>

#include "CLI/CLI.hpp"
#include "client/cli/admin_command.h"
#include "client/cli/flags/flag_types.h"

namespace denoise::cli {

void AddAdminFlags(CLI::App* app, AdminFlags* flags) {
  AddChoice<AdminFlags::Operation>(
      app, "OPERATION", &flags->operation,
      "load: from the server's --model-repository; unload: once its last request has ended; "
      "reload: its folder as it is now",
      {{"load", AdminFlags::Operation::kLoad},
       {"unload", AdminFlags::Operation::kUnload},
       {"reload", AdminFlags::Operation::kReload}})
      ->required();
  app->add_option("MODEL", flags->model, "Its name")->required();
  app->add_option("--model-version", flags->version,
                  "Its version [load: the newest in the repository; else the newest served]")
      ->check(Whole(0, std::numeric_limits<int64_t>::max()));
  AddServerFlags(app, "DENOISE_ADMIN", &flags->server);
  app->get_option("--address")->description("The server's --admin-listen, HOST:PORT");
  app->get_option("--timeout")
      ->description("Stop waiting after this; the operation goes on [none]");
}

}  // namespace denoise::cli
