// A client that loads and unloads models of a running Denoised server.
//
//     auto admin = denoise::AdminClient::Connect("127.0.0.1:8502");
//     if (!admin.ok()) return admin.status();
//     auto model = admin->LoadModel("faces");
#ifndef DENOISE_ADMIN_CLIENT_H_
#define DENOISE_ADMIN_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "denoise/error_details.h"
#include "denoise/options.h"
#include "denoise/types.h"

namespace denoise {
inline namespace client_v1 {

// Thread-safe and cheap to copy; copies share a connection, which lives until the last of them.
//
// Models are those of the server's repository, by name and version, never by path. Calls wait until
// the server has done what they ask for, which takes seconds and more; it does one such operation
// at a time. A call that ends sooner, by its timeout, ends the waiting and not the operation.
//
// Errors are those that Client has, and the ones that each call says. No call is retried: one that
// broke off may have been carried out.
class AdminClient {
 public:
  // `address` is that of denoised --admin-listen, HOST:PORT, or any that Client::Connect takes.
  // INVALID_ARGUMENT for a malformed one, and for an options.retry of more than one attempt;
  // UNAVAILABLE if nothing answers within options.connect_timeout.
  static absl::StatusOr<AdminClient> Connect(const std::string& address,
                                             const ClientOptions& options = {});

  // Loads, examines and serves a model of the repository. Version 0: the newest there. NOT_FOUND
  // where the repository has none of that name and version, ALREADY_EXISTS where it is served,
  // FAILED_PRECONDITION where the server has no repository.
  absl::StatusOr<Model> LoadModel(const std::string& model, int64_t version = 0,
                                  const CallOptions& options = {});

  // Takes a model out of service, and waits for the end of the requests that have begun; new ones
  // are refused. Empty: the only one that is served. Version 0: the newest that is. NOT_FOUND if
  // there is none, FAILED_PRECONDITION where it is being unloaded already.
  absl::Status UnloadModel(const std::string& model, int64_t version = 0,
                           const CallOptions& options = {});

  // Loads a model that is served once more, from its folder as it is now, and puts it in place of
  // the old one, which ends the requests that began with it. Where it cannot be loaded the old one
  // stays. Model, version and NOT_FOUND as for UnloadModel.
  absl::StatusOr<Model> ReloadModel(const std::string& model, int64_t version = 0,
                                    const CallOptions& options = {});

 private:
  class Server;
  explicit AdminClient(std::shared_ptr<Server> server);

  std::shared_ptr<Server> server_;
};

}  // namespace client_v1
}  // namespace denoise

#endif  // DENOISE_ADMIN_CLIENT_H_
